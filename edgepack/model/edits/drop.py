"""Removes whole layers from a list of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from edgepack.model.edits.place import at, misfit, put

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Drop

NUMBERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def edit(model: Model, drops: Sequence[Drop]) -> None:
    """Drop entries of lists of layers, in place; those that stay move up.

    What a layer knows of its place, and the configuration of its count, follow.

    Raises:
        ModelError: E429 when a drop does not fit.
    """
    for drop in drops:
        layers = at(model.module, drop.module)
        if not isinstance(layers, nn.ModuleList):
            raise misfit(drop.module, f"it is a {type(layers).__name__} and no list of layers")
        if not set(drop.indices) < set(range(len(layers))):
            raise misfit(drop.module, f"it has {len(layers)} layers")
        count = len(layers)
        kept = nn.ModuleList(
            layer for place, layer in enumerate(layers) if place not in drop.indices
        )
        put(model.module, drop.module, kept)
        renumber(model.module, kept, count)
        for config in _configs(model.module):
            if len(kinds := getattr(config, "layer_types", None) or ()) == count:
                config.layer_types = [k for i, k in enumerate(kinds) if i not in drop.indices]


def renumber(root: nn.Module, layers: nn.ModuleList, before: int) -> None:
    """Tell layers their places, and configurations how many there are now instead of `before`."""
    for place, layer in enumerate(layers):
        for part in layer.modules():
            if isinstance(getattr(part, "layer_idx", None), int):
                part.layer_idx = place
    for config in _configs(root):
        for key in NUMBERS:
            if getattr(config, key, None) == before:
                setattr(config, key, len(layers))


def _configs(root: nn.Module) -> list[Any]:
    """Return each configuration that a module of the model holds, once."""
    found = {
        id(config): config
        for part in root.modules()
        if (config := getattr(part, "config", None)) is not None
    }
    return list(found.values())
