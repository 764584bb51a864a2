"""Layers with constant weights, seen alike whatever their operator and layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.survey import float_weights, weighted

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array


@dataclass(frozen=True)
class Layout:
    """How an operator lays its weight out.

    Attributes:
        operator: ``Conv``, ``ConvTranspose``, ``Gemm`` or ``MatMul``.
        groups: parts of the channels that do not see each other.
        transposed: a Gemm keeps its weight as [out, in].
    """

    operator: str
    groups: int = 1
    transposed: bool = False

    @property
    def axis(self) -> int:
        """The axis of the weight along which it may have a scale a channel."""
        return int(self.operator in {"ConvTranspose", "MatMul"} or self._turned)

    @property
    def _turned(self) -> bool:
        return self.operator == "Gemm" and not self.transposed

    def grouped(self, weight: Array) -> Array:
        """Return a weight as [groups, out, in, positions]."""
        if self.operator == "Conv":
            return weight.reshape(self.groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
        if self.operator == "ConvTranspose":
            parts = weight.reshape(self.groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
            return parts.swapaxes(1, 2)
        matrix = weight if self.transposed else weight.T
        return matrix[None, :, :, None]

    def laid_out(self, grouped: Array, shape: tuple[int, ...]) -> Array:
        """Return what `grouped` made of a weight of a shape to that shape."""
        if self.operator == "Conv":
            return grouped.reshape(shape)
        if self.operator == "ConvTranspose":
            return grouped.swapaxes(1, 2).reshape(shape)
        matrix: Array = grouped[0, :, :, 0]
        return matrix if self.transposed else matrix.T


@dataclass(frozen=True)
class Layer:
    """A node of a prepared graph whose weight is constant and read by it alone.

    Attributes:
        node: the node.
        layout: how its weight is laid out.
        weight: its value, float32.
    """

    node: onnx.NodeProto
    layout: Layout
    weight: Array


def layout_of(node: onnx.NodeProto) -> Layout:
    """Read a node's attributes."""
    numbers = {a.name: a.i for a in node.attribute}
    return Layout(node.op_type, numbers.get("group", 1), bool(numbers.get("transB", 0)))


def layers(proto: onnx.ModelProto, names: tuple[str, ...]) -> Iterator[Layer]:
    """Yield those of the named nodes that are layers with a weight of their own."""
    from onnx import numpy_helper

    weights = float_weights(proto)
    read: dict[str, int] = {}
    for node in proto.graph.node:
        for name in node.input:
            read[name] = read.get(name, 0) + 1
    for node in proto.graph.node:
        if node.name in names and weighted(node, weights) and read[node.input[1]] == 1:
            value = numpy_helper.to_array(weights[node.input[1]])
            if node.op_type in {"Conv", "ConvTranspose"} or value.ndim == 2:
                yield Layer(node, layout_of(node), value)
