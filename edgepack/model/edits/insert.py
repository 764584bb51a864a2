"""Adds neurons or layers that give nothing yet."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from edgepack.model.attention import attentions_of, inputs, outputs
from edgepack.model.edits.drop import renumber
from edgepack.model.edits.place import at, misfit, put
from edgepack.model.matrices import is_transposed

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Insert, Tensors

CLOSE = 1e-4
"""Difference of outputs, relative to the largest, that new parts may make: that of norms twice."""


@dataclass(frozen=True)
class Feed:
    """The feed-forward part of a block: layers into its neurons, and the layer out of them."""

    into: tuple[nn.Module, ...]
    out: nn.Module


def edit(model: Model, insertions: Sequence[Insert]) -> None:
    """Grow blocks and lists of layers, in place.

    Raises:
        ModelError: E429 when an insertion does not fit.
    """
    for one in insertions:
        if one.layers:
            _deepen(model, one)
        else:
            _widen(at(model.module, one.module), one)


def feed_of(block: nn.Module) -> Feed | None:
    """Return the feed-forward part of a block: what leads to its widest layer and out of it."""
    own = {name for a in attentions_of(block) for name in (a.queries, a.keys, a.values, a.joining)}
    layers = [
        layer
        for name, layer in block.named_modules()
        if (isinstance(layer, nn.Linear) or is_transposed(layer)) and name not in own
    ]
    if len(layers) < 2:
        return None
    out = layers[-1]
    into = tuple(layer for layer in layers[:-1] if outputs(layer) == inputs(out))
    return Feed(into, out) if into else None


def _widen(block: nn.Module, one: Insert) -> None:
    feed = feed_of(block)
    if feed is None:
        raise misfit(one.module, "it has no feed-forward part")
    # New neurons ask what old ones ask, so that they can learn; nothing reads them yet.
    more = torch.arange(one.neurons) % inputs(feed.out)
    for layer in feed.into:
        axis = 1 if is_transposed(layer) else 0
        layer.weight = _grown(layer.weight, layer.weight.detach().index_select(axis, more), axis)
        if layer.bias is not None:
            layer.bias = _grown(layer.bias, layer.bias.detach()[more], 0)
        name = "nf" if is_transposed(layer) else "out_features"
        setattr(layer, name, getattr(layer, name) + one.neurons)
    axis = 0 if is_transposed(feed.out) else 1
    zeros = torch.zeros_like(feed.out.weight.detach().index_select(axis, more))
    feed.out.weight = _grown(feed.out.weight, zeros, axis)
    name = "nx" if is_transposed(feed.out) else "in_features"
    setattr(feed.out, name, getattr(feed.out, name) + one.neurons)


def _deepen(model: Model, one: Insert) -> None:
    layers = at(model.module, one.module)
    if not isinstance(layers, nn.ModuleList) or not set(one.layers) <= set(range(len(layers))):
        raise misfit(one.module, "it is no list with these layers")
    wanted = model.run(model.example)
    grown: list[nn.Module] = []
    new, origins = [], []
    for place, layer in enumerate(layers):
        grown.append(layer)
        origins.append(place)
        for _ in range(one.layers.count(place)):
            new.append(len(grown))
            grown.append(_silent(layer, one.module))
            origins.append(place)
    put(model.module, one.module, nn.ModuleList(grown))
    renumber(model.module, one.module, len(layers), origins)
    if not _alike(wanted, model.run(model.example)):
        for place in new:
            _hand_over(grown[place - 1], grown[place])
        if not _alike(wanted, model.run(model.example)):
            raise misfit(one.module, "a layer of it that should add nothing changes the answers")


def _silent(layer: nn.Module, name: str) -> nn.Module:
    """Return a copy of a block that adds nothing to what flows through it."""
    made = copy.deepcopy(layer)
    feed = feed_of(made)
    if feed is None:
        raise misfit(name, "its layers have no feed-forward part")
    ends = [made.get_submodule(a.joining) for a in attentions_of(made)] + [feed.out]
    with torch.no_grad():
        for end in ends:
            end.weight.zero_()
            if end.bias is not None:
                end.bias.zero_()
    return made


def _hand_over(layer: nn.Module, following: nn.Module) -> None:
    """Let a silent block that norms its sums, as BERT's do, give what the block before it gave.

    Norms of what is normed already change nothing where they neither scale nor shift, so the last
    one alone does, in the place of that of the block before.
    """
    norms = [part for part in following.modules() if isinstance(part, nn.LayerNorm)]
    before = [part for part in layer.modules() if isinstance(part, nn.LayerNorm)]
    if not before or len(before) != len(norms):
        return
    with torch.no_grad():
        for norm in norms[:-1]:
            _plain(norm)
        norms[-1].load_state_dict(before[-1].state_dict())
        _plain(before[-1])


def _plain(norm: nn.LayerNorm) -> None:
    if norm.elementwise_affine:
        norm.weight.fill_(1)
        if norm.bias is not None:
            norm.bias.zero_()


def _alike(wanted: Tensors, given: Tensors) -> bool:
    return all(
        np.allclose(one, given[name], rtol=0, atol=CLOSE * max(1.0, float(np.abs(one).max())))
        for name, one in wanted.items()
    )


def _grown(weight: torch.Tensor, more: torch.Tensor, axis: int) -> nn.Parameter:
    whole = torch.cat([weight.detach(), more], axis)
    return nn.Parameter(whole, requires_grad=weight.requires_grad)
