"""What a graph does for its living: the facts that the choice of a scheme needs."""

from __future__ import annotations

import math
from collections.abc import Container
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

FLOAT32 = 1
"""`onnx.TensorProto.FLOAT`."""
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
PRODUCTS = frozenset({"MatMul", "Gemm"})
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
INTEGER = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger",
    "QLinearConv", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm",
    "QAttention", "DynamicQuantizeLSTM", "MatMulNBits",
})  # fmt: skip
"""Operators that only a quantised graph has."""


class Survey(Frozen):
    """Layers of a graph that hold constant float weights, and the work they do.

    Attributes:
        convolutions, products: number of such Conv/ConvTranspose and MatMul/Gemm nodes.
        convolution_work, product_work: their multiplications for one inference, dynamic axes
            counted as 1.
        recurrent: number of LSTM, GRU and RNN nodes.
        quantised: the graph holds integer operators already.
    """

    convolutions: int = 0
    products: int = 0
    convolution_work: int = 0
    product_work: int = 0
    recurrent: int = 0
    quantised: bool = False

    @property
    def convolutional(self) -> bool:
        """Whether convolutions carry the work."""
        return self.convolutions > 0 and self.convolution_work >= self.product_work


def survey(proto: onnx.ModelProto, operators: Container[str] = ()) -> Survey:
    """Count a graph's layers and their work; shapes should have been inferred before.

    Args:
        proto: the graph.
        operators: layers of other operators count for nothing; all count where none is named.
    """
    shapes = _shapes(proto)
    dims = {t.name: tuple(t.dims) for t in float_weights(proto).values()}
    kinds = [node.op_type for node in proto.graph.node]
    work = {"Conv": [0, 0], "MatMul": [0, 0]}
    for node in proto.graph.node:
        if not weighted(node, dims) or (operators and node.op_type not in operators):
            continue
        shape = shapes.get(node.output[0], ())
        convolves = node.op_type in CONVOLUTIONS
        places = shape[2:] if convolves else shape[:-1]
        entry = work["Conv" if convolves else "MatMul"]
        entry[0] += 1
        entry[1] += math.prod(dims[node.input[1]]) * math.prod(places)
    return Survey(
        convolutions=work["Conv"][0],
        products=work["MatMul"][0],
        convolution_work=work["Conv"][1],
        product_work=work["MatMul"][1],
        recurrent=sum(kind in RECURRENT for kind in kinds),
        quantised=any(kind in INTEGER for kind in kinds),
    )


def weighted(node: onnx.NodeProto, weights: Container[str]) -> bool:
    """Whether a node is a convolution or product whose second operand is among the weights."""
    return (
        node.op_type in CONVOLUTIONS | PRODUCTS and len(node.input) > 1 and node.input[1] in weights
    )


def kept(node: onnx.NodeProto, keep: tuple[str, ...]) -> bool:
    """Whether the recipe wants a node to stay float, by a pattern of its name."""
    return any(fnmatch(node.name, pattern) for pattern in keep)


def float_weights(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the float32 initializers by name."""
    return {t.name: t for t in proto.graph.initializer if t.data_type == FLOAT32}


def float_tensors(proto: onnx.ModelProto) -> set[str]:
    """Return the names of tensors, weights left out, that are known to be float32."""
    graph = proto.graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {v.name for v in values if v.type.tensor_type.elem_type == FLOAT32} - {
        t.name for t in graph.initializer
    }


def _shapes(proto: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return known shapes with 1 for dynamic axes."""
    values = [*proto.graph.value_info, *proto.graph.output]
    return {v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim) for v in values}
