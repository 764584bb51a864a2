"""The one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from edgepack.errors import ModelError

Batch: TypeAlias = tuple[tuple[torch.Tensor, ...], torch.Tensor]
Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; the learning rate falls to zero along half a cosine.

    Loshchilov and Hutter, SGDR (ICLR 2017, arXiv 1608.03983), without restarts.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    optimizer: Literal["adam", "sgd"] = "adam"


def fit(
    module: torch.nn.Module,
    count: int,
    batch: Callable[[Sequence[int]], Batch],
    loss: Loss,
    schedule: Schedule,
    progress: Callable[[int, int], None],
) -> None:
    """Train a module in place, from torch's seed as it stands; it ends in evaluation mode.

    Args:
        module: called with a batch's inputs in order; its first output goes into the loss.
        count: samples there are.
        batch: returns inputs and labels of the samples at the given places.
        loss: from outputs and labels to one number.
        schedule: epochs, learning rate, batch size and optimiser.
        progress: told the steps done and their total.

    Raises:
        ModelError: E434 when the loss is no longer a number.
    """
    rounds = math.ceil(count / schedule.batch_size)
    # A last batch of one has no variance, on which batch norm fails; it is left out.
    rounds -= rounds > 1 and count % schedule.batch_size == 1
    total = schedule.epochs * rounds
    parameters = [p for p in module.parameters() if p.is_floating_point()]
    optimizer = _optimizer(parameters, schedule)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, total))
    module.train()
    for epoch in range(schedule.epochs):
        order = torch.randperm(count).tolist()
        for turn in range(rounds):
            first = turn * schedule.batch_size
            inputs, labels = batch(order[first : first + schedule.batch_size])
            given = module(*inputs)
            value = loss(given[0] if isinstance(given, tuple | list) else given, labels)
            if not torch.isfinite(value):
                module.eval()
                raise _diverged(epoch * rounds + turn, schedule)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            falling.step()
            progress(epoch * rounds + turn + 1, total)
    module.zero_grad(set_to_none=True)
    module.eval()


def _optimizer(parameters: list[torch.nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(parameters, schedule.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.Adam(parameters, schedule.learning_rate)


def _diverged(step: int, schedule: Schedule) -> ModelError:
    return ModelError(
        "E434",
        f"training diverged: the loss is no number at step {step}",
        why=f"the learning rate is {schedule.learning_rate:g}",
        fix="lower `learning_rate`, and look for NaN or huge values in the training data",
    )
