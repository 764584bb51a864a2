"""The gradients of the loss, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.objective import first, loss

BATCH = 8
"""Samples a batch: few, as the gradients of many cancel out in a model that is trained."""


def gradients(module: torch.nn.Module, data: Batches) -> Iterator[None]:
    """Leave the gradients of one batch after another in a module's parameters.

    The module stays in evaluation mode; gradients are gone afterwards.

    Raises:
        UsageError: E264 when there is nothing to train for, E266 for inputs of several shapes.
    """
    with torch.enable_grad():
        for inputs, places in data.each(BATCH):
            module.zero_grad(set_to_none=True)
            loss(first(module(*inputs)), data, places).backward()
            yield
    module.zero_grad(set_to_none=True)
