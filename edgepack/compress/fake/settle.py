"""Turns a model that trained with rounding into one whose weights lie on their levels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.compress.fake.levels import Activation
from edgepack.compress.fake.places import Places, Point
from edgepack.model.edits import replay
from edgepack.model.edits.fold import affine
from edgepack.types import Edit, Fake, Fold, Grid, Width

if TYPE_CHECKING:
    from edgepack.model import Model


def settle(model: Model, trained: nn.Module, places: Places, width: Width) -> Model:
    """Return the model after training, rounding no more but between layers.

    A batch norm scales channels, and so do the grids: folding moves no weight off its levels.

    Args:
        model: as it was before.
        trained: its module with rounding in it.
        places: what was rounded.
        width: of the weights.
    """
    edits: list[Edit] = [Fold(module=name, norm=norm) for name, norm in places.norms.items()]
    scales: dict[Point | None, float] = {}
    for name, side in places.points:
        rounding = trained.get_submodule(name).get_submodule(f"rounded_{side}")
        assert isinstance(rounding, Activation)
        scales[name, side] = rounding.scale
        edits.append(Fake(module=name, side=side, scale=rounding.scale, zero=rounding.zero))
    ours = replay(model, edits) if edits else model.copy()
    state, grids = dict(trained.state_dict()), {}
    fresh = ours.module.state_dict()
    for name in places.layers:
        layer = trained.get_submodule(name)
        norm = trained.get_submodule(places.norms[name]) if name in places.norms else None
        grid, weight, bias = _settled(layer, norm, width)
        grids[f"{name}.weight"] = grid
        state[f"{name}.weight"] = weight
        if bias is not None:
            fed = scales.get(places.fed.get(name))
            state[f"{name}.bias"] = (
                bias if fed is None or width != "w8" else _whole(bias, grid, fed)
            )
    ours.module.load_state_dict({name: state[name] for name in fresh})
    ours.module.eval()
    return replace(ours, grids={**model.grids, **grids})


def _settled(
    layer: nn.Module, norm: nn.Module | None, width: Width
) -> tuple[Grid, torch.Tensor, torch.Tensor | None]:
    """Return a layer's grid, its weight on it, and its bias."""
    rounding = layer.parametrizations.weight[0]
    with torch.no_grad():
        before = layer.parametrizations.weight.original
        scale, levels = rounding.scale(before), rounding.levels(before)
        bias = None if layer.bias is None else layer.bias.detach()
        if norm is not None:
            factor, shift = affine(norm)
            scale = scale * factor.reshape(scale.shape)
            bias = shift if bias is None else bias * factor + shift
        if width not in {"w2", "w4"}:
            # As many levels lie below zero as above: a channel may be turned around.
            levels, scale = levels * torch.where(scale < 0, -1.0, 1.0), scale.abs()
        if width == "w8":
            empty = scale < SMALLEST
            levels, scale = torch.where(empty, 0.0, levels), torch.where(empty, 1.0, scale)
        grid = Grid(width=width, axis=rounding.axis, scales=tuple(scale.flatten().tolist()))
        return grid, levels * scale, bias


def _whole(bias: torch.Tensor, grid: Grid, fed: float) -> torch.Tensor:
    """Return a bias in whole units of the products that it is added to, as integers hold it."""
    unit = torch.tensor(grid.scales) * torch.tensor(fed)
    levels = (bias.double() / unit).round()
    return torch.where(levels.abs() < MOST, levels * unit, bias).float()


MOST = 2**31
SMALLEST = 1e-10
"""Of a scale; channels that a batch norm switched off have none."""
