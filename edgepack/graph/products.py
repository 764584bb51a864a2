"""Counts the work of a graph: multiply-adds of its convolutions and matrix products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Runner
from edgepack.graph.difference import TOGETHER
from edgepack.graph.prefix import exposed, layers

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.graph import Graph
    from edgepack.types import Tensors

Shape = tuple[int, ...]
CONVOLUTIONS = {
    "Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1, "NhwcFusedConv": 1,
}  # fmt: skip
"""Place of the weight, [out, in / groups, *kernel]."""
PRODUCTS = {
    "MatMul": 0, "MatMulInteger": 0, "QLinearMatMul": 0, "DynamicQuantizeMatMul": 0,
    "MatMulIntegerToFloat": 0, "FusedMatMul": 0, "MatMulNBits": 0,
}  # fmt: skip
"""Place of the factor whose last axis is summed over."""
GEMMS = {"Gemm", "QGemm"}
RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1, "DynamicQuantizeLSTM": 4}
"""Gates; the weights are [directions, gates * hidden, in] and [.., gates * hidden, hidden]."""
ATTENTION = {"Attention", "QAttention"}
"""ONNX Runtime's; the weight is [in, 3 * width], and every place looks at every other."""
COUNTED = {*CONVOLUTIONS, "ConvTranspose", *PRODUCTS, *GEMMS, *RECURRENT, *ATTENTION}


def multiply_adds(graph: Graph, feed: Tensors, runner: Runner) -> int:
    """Count the multiply-adds of one inference; see `work`."""
    return sum(work(graph, feed, runner).values())


def work(graph: Graph, feed: Tensors, runner: Runner) -> dict[str, int]:
    """Count each node's multiply-adds in one inference, from the shapes that its tensors take.

    What lies in the branches of If, Loop and Scan is not counted, nor are fused attention kernels
    other than ONNX Runtime's Attention and QAttention.

    Args:
        graph: runs once, with its products' tensors laid open.
        feed: decides the dynamic axes.
        runner: runs it.
    """
    open_ones = {layer.tensor for layer in layers(graph)}
    nodes = [node for node in graph.model.graph if node.op_type in COUNTED]
    wanted = {
        value.name
        for node in nodes
        for value in (*node.inputs[:4], *node.outputs[:1])
        if value is not None and value.name in open_ones
    }
    names = tuple(sorted(name for name in wanted if name))
    shapes: dict[str | None, Shape] = {name: np.shape(value) for name, value in feed.items()}
    with runner.open(exposed(graph, names)) as session:
        for start in range(0, len(names), TOGETHER):
            found = session.run(feed, names[start : start + TOGETHER])
            shapes |= {name: np.shape(value) for name, value in found.items()}
    return {node.name or node.outputs[0].name or "": _cost(node, shapes) for node in nodes}


def _cost(node: ir.Node, shapes: dict[str | None, Shape]) -> int:
    def shape(place: int) -> Shape:
        value = node.inputs[place]
        return _constant(value) or shapes.get(value.name if value else None, ())

    out = math.prod(shapes.get(node.outputs[0].name, (0,)))
    kind = node.op_type
    if kind in CONVOLUTIONS:
        return out * math.prod(shape(CONVOLUTIONS[kind])[1:])
    if kind == "ConvTranspose":
        return math.prod(shape(0)) * math.prod(shape(1)[1:])
    if kind in GEMMS:
        turned = node.attributes.get("transA")
        return out * shape(0)[0 if turned is not None and turned.as_int() else -1]
    if kind in ATTENTION:
        return out * (3 * shape(0)[-1] + 2 * shape(0)[-2])
    if kind in RECURRENT:
        steps = math.prod(shape(0)[:2])
        return steps * (math.prod(shape(1)) + math.prod(shape(2)))
    return out * shape(0)[-1]


def _constant(value: ir.Value | None) -> Shape:
    """Return the shape of a weight, through what only scales it; nothing for what is computed."""
    while value is not None:
        if value.const_value is not None:
            return tuple(int(size) for size in value.const_value.shape)
        node = value.producer()
        if node is None or node.op_type not in {"DequantizeLinear", "QuantizeLinear", "Cast"}:
            return ()
        value = node.inputs[0]
    return ()
