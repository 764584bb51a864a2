"""Fine-tunes a compressed model, on its labels and on what the uncompressed one answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.objective import answers, first, loss, soft
from edgepack.compress.train import summary, train
from edgepack.errors import ModelError

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.finetune import Finetune
    from edgepack.model import Model
    from edgepack.model.fit import Objective

FEW = 100
"""Samples below which fine-tuning mostly learns them by heart."""


def recover(model: Model, options: Finetune, context: Context) -> Model:
    """Return the model trained on the training data; raises as `Finetune.apply`."""
    samples = context.data["train"]
    data = Batches.of(model, samples, labelled=False)
    objective = _taught(model, data, options, context) if options.distil else None
    after = _zeros_kept(model.module) if options.keep_zeros else None
    made, trained = train(
        model, data, options.schedule(), context, "finetune", objective=objective, after=after
    )
    if len(data) < FEW:
        context.events.note(
            f"finetune has {len(data)} samples: it may learn them by heart and lose on others"
        )
    context.events.decision({"samples": len(data), **summary(trained)})
    return made


def _taught(model: Model, data: Batches, options: Finetune, context: Context) -> Objective:
    """Return an objective that mixes labels with the answers of the model as it came in."""
    assert context.original is not None
    teacher = context.original()
    if [spec.shape for spec in teacher.outputs][:1] != [spec.shape for spec in model.outputs][:1]:
        raise ModelError(
            "E457",
            "the model as it came in cannot teach this one",
            why=f"it gives {teacher.outputs[0]}, and this one {model.outputs[0]}",
            fix="leave out `distil`, or use the pass `distil`, which matches other widths",
        )
    wanted = answers(teacher, data, options.batch_size)
    share = options.distil

    def objective(module: torch.nn.Module, places: Sequence[int]) -> torch.Tensor:
        given = first(module(*data.inputs(places)))
        taught = soft(given, torch.stack([wanted[place] for place in places]), options.temperature)
        return taught if share == 1 else share * taught + (1 - share) * loss(given, data, places)

    return objective


def _zeros_kept(module: torch.nn.Module) -> Callable[[torch.nn.Module], None]:
    """Return what sets weights to zero again that are zero now."""
    zero = {name: p == 0 for name, p in module.named_parameters() if p.dim() > 1}

    def keep(trained: torch.nn.Module) -> None:
        for name, parameter in trained.named_parameters():
            if name in zero:
                parameter.masked_fill_(zero[name], 0)

    return keep
