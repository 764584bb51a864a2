"""Refuses graphs that x86 without VNNI would compute wrongly.

There `vpmaddubsw` adds two products of an unsigned and a signed byte in 16 signed bits: with
activations up to 255 a weight must lie in [-64, 64], or the sum saturates without a word
(2 * 255 * 64 = 32640 fits, 2 * 255 * 127 does not). Unsigned weights take another instruction and
are exact.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, PMADDUBSW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepack.errors import ModelError

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

LOWEST, HIGHEST = -64, 64
INT8 = 3
"""`onnx.TensorProto.INT8`."""
SECOND = {
    "MatMulInteger": 1, "ConvInteger": 1, "DynamicQuantizeMatMul": 1, "MatMulIntegerToFloat": 1,
    "QAttention": 1, "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3,
}  # fmt: skip
"""Place of the second factor among the inputs of integer products."""
FLOAT_PRODUCTS = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}


def refuse_saturating(proto: onnx.ModelProto) -> None:
    """Check every product of 8-bit values, QDQ or integer operator.

    Raises:
        ModelError: E453 naming the first product that may saturate.
    """
    signed = _SignedFactors(proto)
    for node in proto.graph.node:
        if factor := signed.factor(node):
            extremes = signed.extremes(factor)
            if extremes is None or extremes[0] < LOWEST or extremes[1] > HIGHEST:
                raise _refusal(node, extremes)


class _SignedFactors:
    """Finds the signed bytes that reach a product as its second factor."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._makers = {name: node for node in proto.graph.node for name in node.output}
        self._weights = {tensor.name: tensor for tensor in proto.graph.initializer}
        values = [*proto.graph.value_info, *proto.graph.input, *proto.graph.output]
        self._types = {v.name: v.type.tensor_type.elem_type for v in values}

    def factor(self, node: onnx.NodeProto) -> str:
        """Return the name of a node's signed 8-bit second factor, or nothing."""
        if node.op_type in SECOND:
            name = self._origin(node.input[SECOND[node.op_type]])
            return name if self._signed(name) else ""
        if node.op_type not in FLOAT_PRODUCTS:
            return ""
        scaled = [self._makers.get(self._origin(name)) for name in node.input[:2]]
        if any(s is None or s.op_type != "DequantizeLinear" for s in scaled):
            return ""  # a float product
        assert scaled[1] is not None
        name = self._origin(scaled[1].input[0])
        return name if self._signed(name) else ""

    def extremes(self, name: str) -> tuple[int, int] | None:
        """Return the smallest and largest value of a constant, None where it is computed."""
        from onnx import numpy_helper

        if name not in self._weights:
            return None
        values: Array = numpy_helper.to_array(self._weights[name])
        return int(values.min(initial=0)), int(values.max(initial=0))

    def _origin(self, name: str) -> str:
        """Follow a tensor back through nodes that only move it."""
        while (maker := self._makers.get(name)) is not None and maker.op_type in MOVES:
            name = maker.input[0]
        return name

    def _signed(self, name: str) -> bool:
        """Whether a tensor of bytes is, or cannot be shown not to be, signed."""
        if name in self._weights:
            return bool(self._weights[name].data_type == INT8)
        maker = self._makers.get(name)
        if maker is not None and maker.op_type == "QuantizeLinear":
            zero = maker.input[2] if len(maker.input) > 2 else ""
            return zero in self._weights and self._weights[zero].data_type == INT8
        if maker is not None and maker.op_type == "DynamicQuantizeLinear":
            return False
        return bool(self._types.get(name, INT8) == INT8)


def _refusal(node: onnx.NodeProto, extremes: tuple[int, int] | None) -> ModelError:
    found = "is computed as the model runs" if extremes is None else f"spans {list(extremes)}"
    return ModelError(
        "E453",
        f"`{node.name}` would saturate on x86 without VNNI",
        where=f"{node.op_type} node",
        why=f"its signed second factor {found}; only [{LOWEST}, {HIGHEST}] is safe",
        fix='set reduce_range = true, or weight_type (dynamic_weight_type) = "u8", '
        "starting from a float model",
    )
