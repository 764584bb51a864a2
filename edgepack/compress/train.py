"""Trains a model on samples: how samples become batches, and labels a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from edgepack.compress.batches import Batches
from edgepack.model.fit import Batch, Loss, Schedule, fit
from edgepack.model.run import repeatable
from edgepack.types import Samples

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model


def train(model: Model, samples: Samples, schedule: Schedule, context: Context) -> Model:
    """Return a trained copy; progress is told as ``finetune``.

    Raises:
        UsageError: E264 for samples without labels or with several runs each, E265 for labels of
            mixed kinds, E266 for inputs that cannot be one batch.
        ModelError: E434 when the loss is no longer a number.
    """
    data = Batches.of(model, samples, labelled=True)

    def batch(places: Sequence[int]) -> Batch:
        return data.inputs(places), data.answers(places)

    ours = model.copy()
    with repeatable(context.seed):
        fit(
            ours.module,
            len(data),
            batch,
            loss_for(data.answers(range(1))),
            schedule,
            lambda done, total: context.events.progress("finetune", done, total),
        )
    return ours


def loss_for(labels: torch.Tensor) -> Loss:
    """Return cross-entropy for classes, and mean square error for values."""
    if labels.is_floating_point():
        return lambda given, wanted: functional.mse_loss(given.reshape(wanted.shape), wanted)
    return functional.cross_entropy
