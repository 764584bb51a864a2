"""Whether a quantised graph gives the same bytes on every processor: a conservative rule.

Integer sums do not depend on their order, float sums do. A graph is exact when each of its nodes

1. quantises or dequantises with constant scales: one rounded division or product an element;
2. forms a unit between DequantizeLinear inputs and QuantizeLinear outputs (or, of a product,
   answers of the model) that ONNX Runtime turns into an integer kernel, which for signed
   activations it does on ARM alone, and adds only where no sum comes near a tie (see `addition`);
3. moves data, or does integer arithmetic, as shapes do; or
4. computes each float element by one correctly rounded IEEE 754 operation.

Anything else (a float product, a mean, a softmax, an exponential) may differ in its last bit, and
one last bit can flip a rounding further on. Functions that an integer kernel tabulates from an
exponential (Sigmoid, LeakyRelu) are left out on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from edgepack.quantize.addition import additions, clear_of_ties

if TYPE_CHECKING:
    import onnx

INT8 = 3
"""`onnx.TensorProto.INT8`."""
PRODUCTS = frozenset({"Gemm", "MatMul"})
"""Units that may answer in float: an exact sum of integers times one scale."""
UNITS = frozenset({
    "Conv", "MatMul", "Gemm", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat",
})  # fmt: skip
MOVES = frozenset({
    "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Pad",
    "Concat", "Identity", "Expand", "MaxPool", "SpaceToDepth", "DepthToSpace", "Shape", "Constant",
    "ConstantOfShape", "Cast", "Tile", "ArgMax", "ArgMin",
})  # fmt: skip
ELEMENTWISE = frozenset({
    "Relu", "Clip", "Min", "Max", "Neg", "Abs", "Add", "Sub", "Mul", "Div", "Where", "Equal",
    "Less", "Greater", "Not", "And", "Or",
})  # fmt: skip


def exact(proto: onnx.ModelProto) -> bool:
    """Whether the rule above holds for every node."""
    graph = proto.graph
    makers = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node.op_type)
    for value in graph.output:
        readers[value.name].append("output")

    def dequantised(name: str) -> bool:
        maker = makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return not name
        zero = maker.input[2] if len(maker.input) > 2 else ""
        return maker.input[0] in weights or weights.get(zero) != INT8

    def leaves(node: onnx.NodeProto) -> list[list[str]]:
        return [["QuantizeLinear"], *([["output"]] if node.op_type in PRODUCTS else [])]

    def holds(node: onnx.NodeProto) -> bool:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            return set(node.input[1:]) <= weights.keys()
        if node.op_type in MOVES | ELEMENTWISE:
            return True
        return (
            node.op_type in UNITS
            and all(map(dequantised, node.input))
            and all(readers[name] in leaves(node) for name in node.output)
        )

    return all(holds(node) for node in graph.node) and _additions_hold(proto)


def _additions_hold(proto: onnx.ModelProto) -> bool:
    """Whether no quantised sum comes near a tie."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in proto.graph.initializer}

    def ratio(term: str, total: str) -> float:
        scales = [numpy_helper.to_array(stored[name]).item() for name in (term, total)]
        return float(scales[0] / scales[1])

    return all(
        clear_of_ties(ratio(first, total), ratio(second, total))
        for (first, second), total in additions(proto)
    )
