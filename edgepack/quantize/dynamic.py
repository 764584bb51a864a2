"""`w8-dynamic`: weights in 8 bits beforehand, activations as they come.

    x ── DynamicQuantizeMatMul(W, b) ── y

and where several products share x, so that it is rounded once,

    x ── DynamicQuantizeLinear ──┬── MatMulIntegerToFloat(W, b) ── y
                                 └── ...

with one scale a column of W. These are ONNX Runtime's own kernels, written as they are: a runtime
that finds them by itself, from operators of the standard, finds fewer, and leaves the bias outside.
Zero points that are zero are left out, for which kernels skip a correction (2 to 4 % of a product
on a Zen 4).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgepack.quantize.survey import PRODUCTS, float_tensors, float_weights, kept, weighted
from edgepack.quantize.weights import to_int8
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

MATRIX = 2
"""Rank of the weights that these kernels take."""
DOMAIN = "com.microsoft"


class DynamicPlan(Frozen):
    """What becomes an integer product.

    Attributes:
        nodes: the products.
        biases: product -> the Add of a constant that follows it and goes into it.
        left: weighted nodes that stay float, with the reason.
    """

    nodes: tuple[str, ...]
    biases: dict[str, str] = {}
    left: dict[str, str]


def plan_dynamic(
    proto: onnx.ModelProto, keep: tuple[str, ...], operators: tuple[str, ...] = ()
) -> DynamicPlan:
    """Decide which nodes of a prepared graph become integer products."""
    weights, floats = float_weights(proto), float_tensors(proto)
    nodes: list[str] = []
    left: dict[str, str] = {}
    for node in proto.graph.node:
        if node.op_type == "Attention" and node.domain == DOMAIN:
            nodes.append(node.name)
        elif node.op_type in PRODUCTS:
            if operators and node.op_type not in operators:
                left[node.name] = f"`{node.op_type}` is not among the operators to quantise"
                continue
            reason = _against(node, weights, floats, keep)
            left.update({node.name: reason} if reason else {})
            nodes += [] if reason else [node.name]
        elif weighted(node, weights):
            left[node.name] = "a convolution quantised dynamically is slower than a float one"
    return DynamicPlan(nodes=tuple(nodes), biases=_biases(proto, set(nodes)), left=left)


def quantize_dynamic(
    proto: onnx.ModelProto, plan: DynamicPlan, *, signed: bool, per_channel: bool, narrow: bool
) -> None:
    """Replace the planned products in place; float weights that nothing reads any more stay."""
    weights = float_weights(proto)
    planned = [node for node in proto.graph.node if node.name in plan.nodes]
    shared = {x for x, count in Counter(node.input[0] for node in planned).items() if count > 1}
    edit = _Edit(proto, shared, signed=signed, per_channel=per_channel, narrow=narrow)
    added = {node.name: node for node in proto.graph.node}
    nodes: list[onnx.NodeProto] = []
    for node in list(proto.graph.node):
        if node.name in plan.nodes:
            bias = added.get(plan.biases.get(node.name, ""))
            nodes += edit.product(node, weights[node.input[1]], bias)
        elif node.name not in plan.biases.values():
            nodes.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    if all(opset.domain != DOMAIN for opset in proto.opset_import):
        proto.opset_import.add(domain=DOMAIN, version=1)


class _Edit:
    """Makes the nodes that stand for one product; weights and inputs that recur are shared."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        shared: set[str],
        *,
        signed: bool,
        per_channel: bool,
        narrow: bool,
    ) -> None:
        self._graph = proto.graph
        self._shared = shared
        self._signed, self._per_channel, self._narrow = signed, per_channel, narrow
        self._stored: set[str] = set()
        self._measured: set[str] = set()

    def product(
        self, node: onnx.NodeProto, weight: onnx.TensorProto, added: onnx.NodeProto | None
    ) -> list[onnx.NodeProto]:
        """Return the nodes that compute what a product, and the Add after it, computed."""
        from onnx import helper

        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        x, y, bias = node.input[0], node.output[0], ""
        w = self._weight(weight, transpose=bool(options.get("transB", 0)))
        if added is not None:
            bias = next(name for name in added.input if name != y)
            y = added.output[0]
        elif len(node.input) > MATRIX and node.op_type != "Attention":
            bias = node.input[2]
        zero = "" if self._signed else f"{w}.zero"
        q, scale, at = f"{x}.q8", f"{x}.scale", f"{x}.zero"
        attention = node.op_type == "Attention"
        nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        if (attention or x in self._shared) and x not in self._measured:
            self._measured.add(x)
            nodes.append(("DynamicQuantizeLinear", [x], [q, scale, at], {}))
        if attention:
            mask = node.input[3] if len(node.input) > 3 else ""
            inputs = [q, f"{w}.q8", node.input[2], scale, f"{w}.scale", mask, at, zero]
            nodes.append(("QAttention", inputs, [y], {"num_heads": options["num_heads"]}))
        elif x in self._shared:
            inputs = [q, f"{w}.q8", scale, f"{w}.scale", at, zero, bias]
            nodes.append(("MatMulIntegerToFloat", inputs, [y], {}))
        else:
            nodes.append(
                ("DynamicQuantizeMatMul", [x, f"{w}.q8", f"{w}.scale", zero, bias], [y], {})
            )
        return [
            helper.make_node(
                kind,
                inputs,
                outputs,
                name=node.name if outputs == [y] else f"{node.name}.{kind}",
                domain="" if kind == "DynamicQuantizeLinear" else DOMAIN,
                **attributes,
            )
            for kind, inputs, outputs, attributes in nodes
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
                numpy_helper.from_array(part, f"{stem}.{end}")
                for end, part in parts.items()
                if end != "zero" or not self._signed
            )
        return stem


def _biases(proto: onnx.ModelProto, planned: set[str]) -> dict[str, str]:
    """Find the Adds of one constant a column that are all that reads a planned MatMul."""
    weights = float_weights(proto)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    answers = {value.name for value in proto.graph.output}
    found = {}
    for node in proto.graph.node:
        if node.name not in planned or node.op_type != "MatMul":
            continue
        y, after = node.output[0], readers.get(node.output[0], [])
        if y in answers or len(after) != 1 or after[0].op_type != "Add":
            continue
        columns = weights[node.input[1]].dims[1]
        others = [name for name in after[0].input if name != y]
        if len(others) == 1 and others[0] in weights and [*weights[others[0]].dims] == [columns]:
            found[node.name] = after[0].name
    return found


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
    if plain != (1.0, 1.0, 0):
        return "it scales or transposes its input"
    columns = weights[node.input[1]].dims[0 if options.get("transB", 0) else 1]
    bias = node.input[2] if len(node.input) > MATRIX else ""
    if bias and (bias not in weights or [*weights[bias].dims] != [columns]):
        return "its bias is not one constant a column"
    return ""
