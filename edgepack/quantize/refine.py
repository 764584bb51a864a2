"""Float weights and biases adjusted before `w8a8-static` rounds them.

The quantiser decides nothing here: weights are moved onto its own levels, and biases to where its
rounding leaves no mean error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from edgepack.base import Context
from edgepack.quantize.bias import offset, shift
from edgepack.quantize.grid import Grid, grid_of
from edgepack.quantize.layers import Layer, layers
from edgepack.quantize.probe import Probe, means
from edgepack.quantize.rounding import gram, refusal, rounded
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

Rounding: TypeAlias = Literal["nearest", "adaround"]
TOGETHER = 256 << 20
"""Bytes of X X^T that are gathered in one sweep over the samples."""


class Refined(Frozen):
    """What was adjusted.

    Attributes:
        moved: by layer, the share of its weights that are not at the nearest level.
        corrected: by layer, the largest change of its bias.
        unrefined: layers that stay as they are, with the reason.
    """

    moved: dict[str, float]
    corrected: dict[str, float]
    unrefined: dict[str, str]


@dataclass(frozen=True)
class Bytes:
    """What the quantiser is told of weights; the names are those of its options."""

    weight_type: Literal["s8", "u8"]
    per_channel: bool
    symmetric: bool
    narrow: bool

    def grid(self, layer: Layer) -> Grid:
        """Return the levels that the quantiser will give a layer."""
        axis = layer.layout.axis if self.per_channel else None
        return grid_of(
            layer.weight, axis, self.weight_type, symmetric=self.symmetric, narrow=self.narrow
        )


def refine(
    proto: onnx.ModelProto,
    nodes: tuple[str, ...],
    kind: Bytes,
    limit: int,
    context: Context,
    rounding: Rounding,
    *,
    bias: bool,
) -> Refined:
    """Adjust the weights and biases of the named nodes, in place.

    Args:
        proto: a prepared graph.
        nodes: names of those that will be quantised.
        kind: how the quantiser stores weights.
        limit: most calibration samples to look at.
        context: holds the samples and runs them.
        rounding: whether weights are rounded up or down by the layer's error.
        bias: whether the mean error is taken out of biases.
    """
    found = list(layers(proto, nodes))
    stored = {layer.node.name: kind.grid(layer).nearest(layer.weight) for layer in found}
    moved: dict[str, float] = {}
    corrected: dict[str, float] = {}
    left: dict[str, str] = {}
    new: dict[str, Array] = {}
    if rounding == "adaround":
        left = {layer.node.name: why for layer in found if (why := refusal(layer))}
        some = [layer for layer in found if layer.node.name not in left]
        for layer, weight in _rounded(proto, some, kind, limit, context):
            name, grid = layer.node.name, kind.grid(layer)
            moved[name] = float(np.mean(grid.levels(weight) != grid.levels(layer.weight)))
            stored[name], new[layer.node.input[1]] = grid.nearest(weight), weight
    if bias:
        for layer, error in _errors(proto, found, stored, limit, context):
            if why := shift(proto, layer, error):
                left[layer.node.name] = why
            else:
                corrected[layer.node.name] = float(np.abs(error).max())
    _store(proto, new)
    return Refined(moved=moved, corrected=corrected, unrefined=left)


def _rounded(
    proto: onnx.ModelProto, found: list[Layer], kind: Bytes, limit: int, context: Context
) -> Iterator[tuple[Layer, Array]]:
    """Yield layers and their weights, rounded by the layer's error."""
    for some in _portions(found):
        probe = Probe.of(proto)
        names = [gram(probe, layer) for layer in some]
        seen = means(proto, probe, limit, context, "adaround")
        for layer, name in zip(some, names, strict=True):
            yield layer, rounded(layer, kind.grid(layer), seen[name])


def _errors(
    proto: onnx.ModelProto,
    found: list[Layer],
    stored: Mapping[str, Array],
    limit: int,
    context: Context,
) -> Iterator[tuple[Layer, Array]]:
    """Yield layers and the mean error of each of their channels."""
    probe = Probe.of(proto)
    names = [offset(probe, layer, stored[layer.node.name]) for layer in found]
    errors = means(proto, probe, limit, context, "correct biases")
    yield from ((layer, errors[name]) for layer, name in zip(found, names, strict=True))


def _portions(found: list[Layer]) -> list[list[Layer]]:
    """Split layers so that what is gathered for each part stays below `TOGETHER`."""
    parts: list[list[Layer]] = []
    held = TOGETHER
    for layer in found:
        groups, _, inputs, positions = layer.layout.grouped(layer.weight).shape
        size = 12 * groups * (inputs * positions) ** 2
        if held + size > TOGETHER:
            parts.append([])
            held = 0
        parts[-1].append(layer)
        held += size
    return parts


def _store(proto: onnx.ModelProto, weights: dict[str, Array]) -> None:
    from onnx import numpy_helper

    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
