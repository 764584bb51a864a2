"""Removes attention heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.model.attention import Attention, attentions_of
from edgepack.model.edits.place import at, misfit
from edgepack.model.matrices import is_transposed

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Heads

COUNTS = ("num_attention_heads", "num_heads", "n_heads", "n_head")
SIZES = ("all_head_size", "split_size")


def edit(model: Model, removals: Sequence[Heads]) -> None:
    """Remove heads, in place: rows of what asks, is asked and is read, columns of what joins them.

    Where all attention modules of one configuration then have the same number of heads, the
    configuration says so, if it tells the width of a head apart from their number.

    Raises:
        ModelError: E429 when a removal does not fit.
    """
    for removal in removals:
        known = {attention.name: attention for attention in attentions_of(model.module)}
        if removal.module not in known:
            raise misfit(removal.module, "it is no attention that is known")
        one = known[removal.module]
        if not set(removal.indices) < set(range(one.groups)):
            raise misfit(removal.module, f"it has {one.groups} heads of keys and values")
        _remove(model.module, one, set(removal.indices))
    _tell_config(model.module)


def places(one: Attention, groups: set[int]) -> tuple[list[int], list[int]]:
    """Return the rows of queries, and of keys and values, that stay when groups of heads go."""
    share = one.heads // one.groups
    kept = [group for group in range(one.groups) if group not in groups]
    rows = [group * one.width + i for group in kept for i in range(one.width)]
    heads = [group * share + head for group in kept for head in range(share)]
    return [head * one.width + i for head in heads for i in range(one.width)], rows


def _remove(root: nn.Module, one: Attention, groups: set[int]) -> None:
    asked, read = places(one, groups)
    if one.fused:
        size = one.heads * one.width
        keep_outputs(at(root, one.queries), [part * size + i for part in range(3) for i in asked])
    else:
        keep_outputs(at(root, one.queries), asked)
        keep_outputs(at(root, one.keys), read)
        keep_outputs(at(root, one.values), read)
    _keep_inputs(at(root, one.joining), asked)
    part = at(root, one.name)
    for key in COUNTS:
        if isinstance(getattr(part, key, None), int):
            setattr(part, key, len(asked) // one.width)
    for key in SIZES:
        if isinstance(getattr(part, key, None), int):
            setattr(part, key, len(asked))
    if isinstance(getattr(part, "num_key_value_heads", None), int):
        part.num_key_value_heads = len(read) // one.width


def keep_outputs(layer: nn.Module, kept: list[int]) -> None:
    """Leave a linear layer some of its outputs, in place."""
    axis = 1 if is_transposed(layer) else 0
    layer.weight = _chosen(layer.weight, kept, axis)
    if layer.bias is not None:
        layer.bias = _chosen(layer.bias, kept, 0)
    if is_transposed(layer):
        layer.nf = len(kept)
    else:
        layer.out_features = len(kept)


def _keep_inputs(layer: nn.Module, kept: list[int]) -> None:
    axis = 0 if is_transposed(layer) else 1
    layer.weight = _chosen(layer.weight, kept, axis)
    if is_transposed(layer):
        layer.nx = len(kept)
    else:
        layer.in_features = len(kept)


def _chosen(weight: torch.Tensor, kept: list[int], axis: int) -> nn.Parameter:
    chosen = weight.detach().index_select(axis, torch.tensor(kept)).clone()
    return nn.Parameter(chosen, requires_grad=weight.requires_grad)


def _tell_config(root: nn.Module) -> None:
    """Write the number of heads into the configurations that all their modules agree with."""
    found: dict[int, tuple[object, set[tuple[int, int]]]] = {}
    for one in attentions_of(root):
        config = getattr(at(root, one.name), "config", None)
        if config is not None:
            found.setdefault(id(config), (config, set()))[1].add((one.heads, one.groups))
    for config, counts in found.values():
        if len(counts) == 1:
            heads, groups = counts.pop()
            if not isinstance(getattr(config, "head_dim", None), int):
                # Classes that divide the width by the heads would find another width of a head.
                continue
            for key, value in (("num_attention_heads", heads), ("num_key_value_heads", groups)):
                if isinstance(getattr(config, key, None), int):
                    setattr(config, key, value)
