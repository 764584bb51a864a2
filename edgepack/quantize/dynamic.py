"""`w8-dynamic`: weights in 8 bits beforehand, activations as they come.

    x ── DynamicQuantizeLinear ── MatMulInteger ── Cast ── Mul ── y
               └─── scale ──────── Mul with the scale of W ──┘

is what ONNX Runtime fuses into one kernel (DynamicQuantizeMatMul, or MatMulIntegerToFloat where
several products share x, as query, key and value do).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepack.quantize.survey import PRODUCTS, float_tensors, float_weights, kept, weighted
from edgepack.quantize.weights import to_int8
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

MATRIX = 2
"""Rank of the weights that `MatMulInteger` takes per column."""


class DynamicPlan(Frozen):
    """The products to quantise, and the weighted nodes that stay float, with the reason."""

    nodes: tuple[str, ...]
    left: dict[str, str]


def plan_dynamic(
    proto: onnx.ModelProto, keep: tuple[str, ...], operators: tuple[str, ...] = ()
) -> DynamicPlan:
    """Decide which nodes of a prepared graph become integer products."""
    weights, floats = float_weights(proto), float_tensors(proto)
    nodes: list[str] = []
    left: dict[str, str] = {}
    for node in proto.graph.node:
        if node.op_type in PRODUCTS:
            if operators and node.op_type not in operators:
                left[node.name] = f"`{node.op_type}` is not among the operators to quantise"
                continue
            reason = _against(node, weights, floats, keep)
            left.update({node.name: reason} if reason else {})
            nodes += [] if reason else [node.name]
        elif weighted(node, weights):
            left[node.name] = "a convolution quantised dynamically is slower than a float one"
    return DynamicPlan(nodes=tuple(nodes), left=left)


def quantize_dynamic(
    proto: onnx.ModelProto, plan: DynamicPlan, *, signed: bool, per_channel: bool, narrow: bool
) -> None:
    """Replace the planned products in place; float weights that nothing reads any more stay."""
    weights = float_weights(proto)
    edit = _Edit(proto, signed=signed, per_channel=per_channel, narrow=narrow)
    nodes: list[onnx.NodeProto] = []
    for node in list(proto.graph.node):
        if node.name in plan.nodes:
            nodes += edit.product(node, weights[node.input[1]])
        else:
            nodes.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


class _Edit:
    """Makes the nodes that stand for one product; weights and inputs that recur are shared."""

    def __init__(
        self, proto: onnx.ModelProto, *, signed: bool, per_channel: bool, narrow: bool
    ) -> None:
        self._graph = proto.graph
        self._signed, self._per_channel, self._narrow = signed, per_channel, narrow
        self._stored: set[str] = set()
        self._measured: set[str] = set()

    def product(self, node: onnx.NodeProto, weight: onnx.TensorProto) -> list[onnx.NodeProto]:
        """Return the nodes that compute what a MatMul or Gemm computed."""
        from onnx import helper

        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        x, y, name = node.input[0], node.output[0], node.name
        has_bias = len(node.input) > MATRIX and bool(node.input[2])
        w = self._weight(weight, transpose=bool(options.get("transB", 0)))
        product = f"{y}.product" if has_bias else y
        nodes: list[tuple[str, list[str], list[str], dict[str, int]]] = []
        if x not in self._measured:
            self._measured.add(x)
            nodes.append(("DynamicQuantizeLinear", [x], [f"{x}.q8", f"{x}.scale", f"{x}.zero"], {}))
        nodes += [
            (
                "MatMulInteger",
                [f"{x}.q8", f"{w}.q8", f"{x}.zero", f"{w}.zero"],
                [f"{y}.int32"],
                {},
            ),
            ("Cast", [f"{y}.int32"], [f"{y}.float"], {"to": 1}),
            ("Mul", [f"{x}.scale", f"{w}.scale"], [f"{y}.factor"], {}),
            ("Mul", [f"{y}.float", f"{y}.factor"], [product], {}),
        ]
        if has_bias:
            nodes.append(("Add", [product, node.input[2]], [y], {}))
        return [
            helper.make_node(kind, inputs, outputs, name=f"{name}.{kind}{index}", **attributes)
            for index, (kind, inputs, outputs, attributes) in enumerate(nodes)
        ]

    def _weight(self, weight: onnx.TensorProto, *, transpose: bool) -> str:
        """Store a weight's integers, scales and zero points once and return their stem."""
        from onnx import numpy_helper

        stem = f"{weight.name}.T" if transpose else weight.name
        if stem not in self._stored:
            self._stored.add(stem)
            array: Array = numpy_helper.to_array(weight)
            array = array.T if transpose else array
            axis = 1 if self._per_channel else None
            q = to_int8(array, axis, signed=self._signed, narrow=self._narrow)
            parts: dict[str, Any] = {"q8": q.values, "scale": q.scale, "zero": q.zero}
            self._graph.initializer.extend(
                numpy_helper.from_array(part, f"{stem}.{end}") for end, part in parts.items()
            )
        return stem


def _against(
    node: onnx.NodeProto,
    weights: dict[str, onnx.TensorProto],
    floats: set[str],
    keep: tuple[str, ...],
) -> str:
    """Return what speaks against quantising a product, or nothing."""
    from onnx import helper

    if kept(node, keep):
        return "the recipe keeps it"
    if not weighted(node, weights) or len(weights[node.input[1]].dims) != MATRIX:
        return "it has no constant float32 matrix"
    if node.input[0] not in floats:
        return "the type of its input could not be inferred"
    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    plain = (options.get("alpha", 1.0), options.get("beta", 1.0), options.get("transA", 0))
    return "" if plain == (1.0, 1.0, 0) else "it scales or transposes its input"
