"""Whether a quantised graph gives the same bytes on every processor: a conservative rule.

Integer sums do not depend on their order, float sums do. A graph is exact when each of its nodes

1. quantises or dequantises with constant scales: one rounded division or product an element;
2. forms a unit between DequantizeLinear inputs and QuantizeLinear outputs that ONNX Runtime turns
   into an integer kernel;
3. moves data, or does integer arithmetic, as shapes do; or
4. computes each float element by one correctly rounded IEEE 754 operation.

Anything else (a float product, a mean, a softmax, an exponential) may differ in its last bit, and
one last bit can flip a rounding further on. Functions that an integer kernel tabulates from an
exponential (Sigmoid, LeakyRelu) are left out on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

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
    weights = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node.op_type)
    for value in graph.output:
        readers[value.name].append("output")

    def dequantised(name: str) -> bool:
        return not name or (name in makers and makers[name].op_type == "DequantizeLinear")

    def holds(node: onnx.NodeProto) -> bool:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            return set(node.input[1:]) <= weights
        if node.op_type in MOVES | ELEMENTWISE:
            return True
        return (
            node.op_type in UNITS
            and all(map(dequantised, node.input))
            and all(readers[name] == ["QuantizeLinear"] for name in node.output)
        )

    return all(holds(node) for node in graph.node)
