"""Trains a model on samples: what every technique that trains shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.objective import first, loss
from edgepack.model.fit import Objective, Schedule, Task, Trained, fit
from edgepack.model.run import repeatable

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model


def train(
    model: Model,
    data: Batches,
    schedule: Schedule,
    context: Context,
    name: str,
    *,
    objective: Objective | None = None,
    extra: torch.nn.Module | None = None,
    after: Callable[[torch.nn.Module], None] | None = None,
) -> tuple[Model, Trained]:
    """Return a trained copy of a model, and how it went; repeatable from the context's seed.

    Args:
        model: what is trained.
        data: the samples.
        schedule: how long and how fast.
        context: gives the seed, the events, and the folder of checkpoints.
        name: what progress is told under.
        objective: what is made small; that of the labels for None.
        extra: a module that is trained along, such as projections, and thrown away.
        after: called with the module after each step, such as to keep zeros zero.

    Raises:
        UsageError: E264 to E266 when the data does not fit the model.
        ModelError: E434 when the loss is no longer a number.
        HostError: E325 when a log is asked for and tensorboard is missing.
    """
    ours = model.copy()
    for parameter in ours.module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    task = Task(
        name,
        len(data),
        objective or plain(data),
        _score(data),
        extra,
        after,
    )
    with repeatable(context.seed):
        trained = fit(ours.module, task, schedule, context.events, context.resume)
    return ours, trained


def plain(data: Batches) -> Objective:
    """Return the objective that the labels stand for."""

    def objective(module: torch.nn.Module, places: Sequence[int]) -> torch.Tensor:
        return loss(first(module(*data.inputs(places))), data, places)

    return objective


def summary(trained: Trained) -> dict[str, object]:
    """Return what the report says of a training."""
    told: dict[str, object] = {"steps": trained.steps, "epochs": len(trained.losses)}
    if trained.losses:
        told["loss"] = [round(trained.losses[0], 4), round(trained.losses[-1], 4)]
    if trained.held:
        told["held_out_loss"] = round(min(trained.held), 4)
        told["best_epoch"] = trained.best
    return told


def _score(
    data: Batches,
) -> Callable[[torch.nn.Module, Sequence[int]], Mapping[str, float]] | None:
    """Score classes by the share that is right; nothing else has a score that all would share."""
    if data.labels is None or data.labels.is_floating_point():
        return None

    def score(module: torch.nn.Module, places: Sequence[int]) -> Mapping[str, float]:
        right = total = 0
        for start in range(0, len(places), 64):
            some = places[start : start + 64]
            given = first(module(*data.inputs(some))).argmax(-1)
            right, total = right + int((given == data.answers(some)).sum()), total + len(some)
        return {"accuracy": 100 * right / total}

    return score
