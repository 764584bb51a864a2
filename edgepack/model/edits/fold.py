"""Puts batch norms into the layers before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgepack.model.edits.place import at, misfit, put

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Fold


def edit(model: Model, folds: Sequence[Fold]) -> None:
    """Fold batch norms, in place.

    Raises:
        ModelError: E429 when a layer or norm is missing, or they do not fit each other.
    """
    for fold in folds:
        layer, norm = at(model.module, fold.module), at(model.module, fold.norm)
        weight = getattr(layer, "weight", None)
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None or weight is None:
            raise misfit(fold.norm, "it is no batch norm with statistics after a layer")
        if len(weight) != norm.num_features:
            raise misfit(fold.norm, f"`{fold.module}` has {len(weight)} outputs")
        factor, shift = affine(norm)
        with torch.no_grad():
            bias = torch.zeros_like(shift) if layer.bias is None else layer.bias.detach()
            layer.weight.mul_(factor.reshape(-1, *[1] * (weight.dim() - 1)))
            layer.bias = nn.Parameter(bias * factor + shift)
        put(model.module, fold.norm, nn.Identity())


def affine(norm: _BatchNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a batch norm multiplies a channel by and adds to it, each [channels]."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.detach()
    shift = -norm.running_mean * factor
    return factor, shift if norm.bias is None else shift + norm.bias.detach()
