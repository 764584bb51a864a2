"""Trains a model on samples: how samples become batches, and labels a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from edgepack.errors import UsageError
from edgepack.model.fit import Batch, Loss, Schedule, fit
from edgepack.model.run import repeatable
from edgepack.types import Samples

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model
    from edgepack.types import Array, Tensors


def train(model: Model, samples: Samples, schedule: Schedule, context: Context) -> Model:
    """Return a trained copy; progress is told as ``finetune``.

    Raises:
        UsageError: E264 for samples without labels or with several runs each, E265 for labels of
            mixed kinds, E266 for inputs that cannot be one batch.
        ModelError: E434 when the loss is no longer a number.
    """
    feeds, labels = _read(samples)
    answers = _labels(labels)
    names = [spec.name for spec in model.inputs]
    padded = any("mask" in name for name in names)

    def batch(places: Sequence[int]) -> Batch:
        rows = [feeds[place] for place in places]
        inputs = tuple(torch.from_numpy(_stack([r[n] for r in rows], padded)) for n in names)
        return inputs, answers[list(places)]

    ours = model.copy()
    with repeatable(context.seed):
        fit(
            ours.module,
            len(feeds),
            batch,
            loss_for(answers),
            schedule,
            lambda done, total: context.events.progress("finetune", done, total),
        )
    return ours


def loss_for(labels: torch.Tensor) -> Loss:
    """Return cross-entropy for classes, and mean square error for values."""
    if labels.is_floating_point():
        return lambda given, wanted: functional.mse_loss(given.reshape(wanted.shape), wanted)
    return functional.cross_entropy


def _read(samples: Samples) -> tuple[list[Tensors], list[Any]]:
    feeds, labels = [], []
    for place, sample in enumerate(samples):
        if sample.label is None or len(sample.inputs) != 1:
            raise UsageError(
                "E264",
                "the training data cannot be trained on",
                where=f"train, sample {place}",
                why="it has no label" if sample.label is None else "it has several runs",
                fix="give every sample one input and one label",
            )
        feeds.append(sample.inputs[0])
        labels.append(sample.label)
    return feeds, labels


def _labels(labels: list[Any]) -> torch.Tensor:
    """Return classes [n] as int64, or values as float32."""
    try:
        array = np.stack([np.asarray(label) for label in labels])
    except ValueError as problem:
        raise _mixed(str(problem)) from problem
    if array.dtype.kind in "iub" and array.size == len(labels):
        return torch.from_numpy(array.reshape(-1).astype(np.int64))
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))
    raise _mixed(f"they are {array.dtype} of shape {list(array.shape[1:])}")


def _mixed(why: str) -> UsageError:
    return UsageError(
        "E265",
        "the labels are neither classes nor values",
        where="train",
        why=why,
        fix="label every sample with one whole number, or with floats of one shape",
    )


def _stack(arrays: Sequence[Array], padded: bool) -> Array:
    """Join inputs along their batch axis; shorter ones are filled with zeros behind a mask."""
    shapes = {array.shape for array in arrays}
    if len(shapes) == 1:
        return np.concatenate(arrays)
    if not padded or len({array.ndim for array in arrays}) > 1:
        raise UsageError(
            "E266",
            "the training inputs have different shapes",
            where="train",
            why=", ".join(str(list(shape)) for shape in sorted(shapes)[:3]),
            fix="bring all to one shape, or set batch_size = 1",
        )
    full = np.max([array.shape for array in arrays], axis=0)[1:]
    fill = [[(0, 0), *((0, f - n) for f, n in zip(full, a.shape[1:], strict=True))] for a in arrays]
    return np.concatenate([np.pad(a, f) for a, f in zip(arrays, fill, strict=True)])
