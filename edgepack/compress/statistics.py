"""Estimates the means and variances of batch norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from edgepack.compress.batches import Batches
from edgepack.errors import ModelError, UsageError
from edgepack.model.run import repeatable

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.recalibrate import Recalibrate
    from edgepack.model import Model


def recalibrated(model: Model, options: Recalibrate, context: Context) -> Model:
    """Return a model whose batch norms average over all batches alike; see `Recalibrate`."""
    ours = model.copy()
    norms = {
        name: layer
        for name, layer in ours.module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    }
    if not norms:
        raise ModelError(
            "E458",
            "the model has no batch norm to measure anew",
            why="layer norms and others hold no statistics of the training data",
            fix="leave out `recalibrate`",
        )
    samples = context.data.get(options.data)
    if samples is None or samples.generated:
        raise UsageError(
            "E224",
            f"`recalibrate` needs {options.data} data, and the recipe names none",
            why="batch norms measured on made-up samples would fit no real ones",
            fix=f'add `{options.data} = "..."` under [data], or take another split by `data`',
        )
    data = Batches.of(ours, samples, labelled=False, most=options.samples)
    before = {name: layer.running_mean.clone() for name, layer in norms.items()}
    momenta = {name: layer.momentum for name, layer in norms.items()}
    for layer in norms.values():
        layer.reset_running_stats()
        layer.momentum = None  # the plain average of all batches
        layer.train()
    with repeatable(context.seed), torch.no_grad():
        order = torch.randperm(len(data)).tolist()
        size = options.batch_size
        # A batch that is not full would weigh as much as one that is.
        starts = range(0, max(1, len(order) - size + 1), size)
        for done, start in enumerate(starts, 1):
            ours.module(*data.inputs(order[start : start + size]))
            context.events.progress("recalibrate", done, len(starts))
    moved = []
    for name, layer in norms.items():
        layer.momentum = momenta[name]
        deviation = layer.running_var.sqrt().clamp(min=1e-12)
        moved.append(float(((layer.running_mean - before[name]).abs() / deviation).mean()))
    ours.module.eval()
    context.events.decision(
        {
            "batch_norms": len(norms),
            "samples": len(starts) * min(size, len(data)),
            "means_moved_by_deviations": round(sum(moved) / len(moved), 3),
        }
    )
    if max(moved) < 0.02:
        context.events.note("the batch norms were right as they were: nothing was gained")
    return ours
