"""Evens the channels between two layers out, so that one scale suits them all.

Between two layers lies f with f(c x) = c f(x) for every c > 0 (none, a ReLU, a pool). With S a
diagonal matrix of positive numbers,

    W2 f(W1 x + b1) = (W2 S) f(S^-1 W1 x + S^-1 b1)

and with r1 and r2 the largest weights into and out of a channel, s = sqrt(r1 / r2) makes both
sqrt(r1 r2). A bias counts as a weight whose input is 1, for it widens the channel as much. Each s
is a power of two, so that float answers do not change by a bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgepack.base import Context, GraphPass
from edgepack.graph import Graph, match
from edgepack.graph.checked import settled
from edgepack.quantize.layers import Layout

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.types import Array

LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
HOMOGENEOUS = {
    "Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
}  # fmt: skip
"""Operators that give c times as much for c times as much of a channel, c > 0."""
FLAT = {"Flatten", "Squeeze", "Reshape"}
"""Operators that lay a channel's positions out beside each other."""
ROUNDS = 100
"""Most times that all pairs are evened out in turn."""
STILL = 0.01
"""Largest change of a scale, in powers of two, at which they stand still."""


@dataclass(frozen=True)
class Pair:
    """Two layers and the constants that are added between them."""

    first: ir.Node
    second: ir.Node
    offsets: tuple[ir.Value, ...]


class Equalise(GraphPass):
    """Even out the ranges of channels between layers, for the accuracy of 8-bit scales.

    A channel with weights a thousand times those of its neighbours takes all levels of a scale
    that they share, as weights with a scale a tensor do and activations always. What the layers
    answer in float stays the same to the bit.

    Source: Nagel et al., Data-Free Quantization, arXiv:1906.04721, section 4.1.
    """

    name: ClassVar[str] = "equalise"

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with weights rescaled between layers that allow it."""
        if graph.scheme != "float":
            return settled(graph, graph, (), {"graph": "it is quantised"}, context)
        ours = graph.copy()
        pairs, refused = _pairs(ours)
        applied = []
        for pair, scale in zip(pairs, _scales(pairs), strict=True):
            if np.all(scale == 1):
                continue
            _divide(pair, scale)
            _scale_inputs(pair.second, scale)
            applied.append(f"{pair.first.name} -> {pair.second.name}")
        return settled(graph, ours, applied, refused, context)


def _pairs(graph: Graph) -> tuple[list[Pair], dict[str, str]]:
    """Return the pairs in their order, and why other layers begin none."""
    pairs: list[Pair] = []
    refused: dict[str, str] = {}
    for node in graph.model.graph:
        if node.op_type in LAYERS and not node.domain and _weight(node) is not None:
            found = _after(node)
            if isinstance(found, Pair):
                pairs.append(found)
            else:
                refused[str(node.name)] = found
    return pairs, refused


def _weight(node: ir.Node) -> Array | None:
    """Return the weight of a layer where it may change."""
    value = node.inputs[1]
    weight = match.array(value)
    shared = value is None or len(value.uses()) > 1 or value.is_graph_output()
    product = node.op_type in {"Gemm", "MatMul"}
    if weight is None or shared or (product and weight.ndim != 2):
        return None
    turned = node.attributes.get("transA")
    return None if turned is not None and turned.as_int() else weight


def _bias(node: ir.Node) -> tuple[ir.Value | None, bool]:
    """Return the bias of a layer, and whether it may change."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return None, True
    bias = match.array(value)
    sized = bias is not None and bias.size == _channels(node)
    return value, sized and len(value.uses()) == 1


def _after(first: ir.Node) -> Pair | str:
    """Follow a layer's result to the next layer; say why not where there is none to even out."""
    if not _bias(first)[1]:
        return "its bias is not its own number for each channel"
    channels, last = _channels(first), first.op_type in {"Gemm", "MatMul"}
    value, flat = first.outputs[0], False
    offsets: list[ir.Value] = []
    while len(value.uses()) == 1 and not value.is_graph_output():
        (node,) = value.consumers()
        if node.op_type in LAYERS and node.inputs[0] is value and _weight(node) is not None:
            return _joined(first, node, offsets, last=last or flat)
        offset = None if flat else _offset(node, value, channels, last=last)
        if offset is not None:
            offsets.append(offset)
        elif node.op_type in FLAT and not last and _flattens(node):
            flat = True
        elif not _homogeneous(node, value):
            return f"`{node.op_type}` does not scale with its channels"
        value = node.outputs[0]
    return (
        "its result is an answer" if value.is_graph_output() else "its result has several readers"
    )


def _joined(first: ir.Node, second: ir.Node, offsets: list[ir.Value], *, last: bool) -> Pair | str:
    """Return two layers as a pair where the channels of one are those of the other."""
    weight = match.array(second.inputs[1])
    assert weight is not None
    grouped = _layout(second).grouped(weight)
    inputs = grouped.shape[0] * grouped.shape[2]
    if last != (second.op_type in {"Gemm", "MatMul"}) or inputs % _channels(first):
        return "the channels of the next layer are others"
    return Pair(first, second, tuple(offsets))


def _homogeneous(node: ir.Node, value: ir.Value) -> bool:
    if node.op_type not in HOMOGENEOUS or node.domain or node.inputs[0] is not value:
        return False
    return node.op_type != "PRelu" or match.array(node.inputs[1]) is not None


def _flattens(node: ir.Node) -> bool:
    """Whether a node makes [n, channels * positions] of [n, channels, ...], as far as it tells."""
    if node.op_type == "Flatten":
        axis = node.attributes.get("axis")
        return axis is None or axis.as_int() == 1
    told = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] else None
    if told is None:
        return False
    numbers = told.numpy().reshape(-1).tolist()
    if node.op_type == "Reshape":
        return len(numbers) == 2
    return all(number >= 2 for number in numbers)


def _offset(node: ir.Node, value: ir.Value, channels: int, *, last: bool) -> ir.Value | None:
    """Return the constant that a node adds to each channel."""
    constant = match.other(node, value) if node.op_type == "Add" else None
    array = match.array(constant)
    if constant is None or array is None or len(constant.uses()) != 1 or array.size != channels:
        return None
    wide = [n for n in array.shape if n != 1]
    place = array.ndim - 1 if last else array.ndim - 3
    fits = len(wide) <= 1 and 0 <= place < array.ndim and array.shape[place] == channels
    return constant if fits else None


def _layout(node: ir.Node) -> Layout:
    numbers = {n: a.value for n, a in node.attributes.items() if n in {"group", "transB"}}
    return Layout(node.op_type, int(numbers.get("group", 1)), bool(numbers.get("transB", 0)))


def _channels(node: ir.Node) -> int:
    weight = match.array(node.inputs[1])
    assert weight is not None
    return int(np.prod(_layout(node).grouped(weight).shape[:2]))


def _scales(pairs: list[Pair]) -> list[Array]:
    """Return for each pair what its channels are divided by, powers of two [channels]."""
    largest: dict[ir.Node, Array] = {}
    biases: dict[ir.Node, Array] = {}
    for node in (node for pair in pairs for node in (pair.first, pair.second)):
        weight = match.array(node.inputs[1])
        assert weight is not None
        largest[node] = np.abs(_layout(node).grouped(weight)).max(axis=3).astype(np.float64)
    for pair in pairs:
        constants = (_bias(pair.first)[0], *pair.offsets)
        found = [np.abs(a).reshape(-1) for a in map(match.array, constants) if a is not None]
        biases[pair.first] = sum(found, np.zeros(_channels(pair.first)))
    totals = [np.ones(_channels(pair.first)) for pair in pairs]
    for _ in range(ROUNDS):
        moved = 0.0
        for place, pair in enumerate(pairs):
            scale = _even(largest[pair.first], biases[pair.first], largest[pair.second])
            totals[place] *= scale
            moved = max(moved, float(np.abs(np.log2(scale)).max()))
            first, second = largest[pair.first], largest[pair.second]
            largest[pair.first] = first / scale.reshape(*first.shape[:2], 1)
            biases[pair.first] = biases[pair.first] / scale
            largest[pair.second] = second * _spread(scale, second)
        if moved < STILL:
            break
    return [np.exp2(np.round(np.log2(total))) for total in totals]


def _even(first: Array, bias: Array, second: Array) -> Array:
    """Return sqrt(r1 / r2) a channel, 1 where a side of it is all zeros."""
    into = np.maximum(first.max(axis=2).reshape(-1), bias)
    out = second.max(axis=1).reshape(into.size, -1).max(axis=1)
    alive = (into > 0) & (out > 0)
    return np.sqrt(np.where(alive, into, 1) / np.where(alive, out, 1))


def _spread(scale: Array, grouped: Array) -> Array:
    """Return scales of channels as [groups, 1, in], for each of a channel's positions."""
    groups, _, inputs = grouped.shape[:3]
    return np.repeat(scale, groups * inputs // scale.size).reshape(groups, 1, inputs)


def _divide(pair: Pair, scale: Array) -> None:
    """Divide what a layer gives, and what is added to it."""
    value, layout = pair.first.inputs[1], _layout(pair.first)
    weight = match.array(value)
    assert weight is not None
    grouped = layout.grouped(weight)
    parts = grouped / scale.reshape(*grouped.shape[:2], 1, 1)
    match.put(value, layout.laid_out(parts, weight.shape))
    for constant in (_bias(pair.first)[0], *pair.offsets):
        if (array := match.array(constant)) is not None:
            match.put(constant, (array.reshape(-1) / scale).reshape(array.shape))


def _scale_inputs(node: ir.Node, scale: Array) -> None:
    """Multiply what a layer takes."""
    value, layout = node.inputs[1], _layout(node)
    weight = match.array(value)
    assert weight is not None
    grouped = layout.grouped(weight)
    parts = grouped * _spread(scale, grouped)[..., None]
    match.put(value, layout.laid_out(parts, weight.shape))
