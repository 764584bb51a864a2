"""Removes whole layers from a list of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from edgepack.model.edits.place import at, misfit, put

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Drop


def edit(model: Model, drops: Sequence[Drop]) -> None:
    """Drop entries of lists of layers, in place; those that stay move up.

    Raises:
        ModelError: E432 when a drop does not fit.
    """
    for drop in drops:
        layers = at(model.module, drop.module)
        if not isinstance(layers, torch.nn.ModuleList | torch.nn.Sequential):
            raise misfit(drop.module, f"it is a {type(layers).__name__} and no list of layers")
        if not set(drop.indices) < set(range(len(layers))):
            raise misfit(drop.module, f"it has {len(layers)} layers")
        kept = [layer for place, layer in enumerate(layers) if place not in drop.indices]
        of = torch.nn.ModuleList if isinstance(layers, torch.nn.ModuleList) else None
        put(model.module, drop.module, of(kept) if of else torch.nn.Sequential(*kept))
