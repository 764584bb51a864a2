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
        kept = [place for place in range(len(layers)) if place not in drop.indices]
        put(model.module, drop.module, nn.ModuleList(layers[place] for place in kept))
        renumber(model.module, drop.module, len(layers), kept)


def renumber(root: nn.Module, name: str, before: int, origins: Sequence[int]) -> None:
    """Tell layers their places, and configurations how many layers there are and of which kinds.

    Args:
        root: the model.
        name: of the list of layers.
        before: how many layers it had.
        origins: for each layer that it has now, the place whose layer it is, or is a copy of.
    """
    layers = at(root, name)
    assert isinstance(layers, nn.ModuleList)
    for place, layer in enumerate(layers):
        for part in layer.modules():
            if isinstance(getattr(part, "layer_idx", None), int):
                part.layer_idx = place
    for config in _configs(root, layers):
        for key in NUMBERS:
            if getattr(config, key, None) == before:
                setattr(config, key, len(layers))
        if len(kinds := getattr(config, "layer_types", None) or ()) == before:
            config.layer_types = [kinds[origin] for origin in origins]


def _configs(root: nn.Module, layers: nn.ModuleList) -> list[Any]:
    """Return each configuration of what holds a list or lies in it; others count other layers."""
    above = (part for part in root.modules() if any(one is layers for one in part.modules()))
    found = {
        id(config): config
        for part in (*above, *layers.modules())
        if (config := getattr(part, "config", None)) is not None
    }
    return list(found.values())
