"""Recognises models that come in quantised, and says by what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.graph.value import Graph

QUANTISED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger",
    "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits",
    "QMoE", "GatherBlockQuantized", "MatMulBnb4", "QEmbedLayerNormalization",
}  # fmt: skip
"""Operators that only quantised models have."""
_FLOATS = {1, 10, 11, 16}
"""`TensorProto.DataType` of float, float16, double, bfloat16."""
_THROUGH = {"Gather", "Identity", "Reshape", "Slice", "Transpose", "Unsqueeze", "Squeeze"}
_SHOWN = 4


def quantised_by(graph: Graph) -> str:
    """Say what shows that a model is quantised, most frequent first; nothing where it is not.

    Models show it by operators that only they have, or store narrow matrices that they widen with
    Cast.
    """
    found: Counter[str] = Counter()
    for node in graph.model.graph.all_nodes():
        if node.op_type in QUANTISED or node.op_type.startswith(("QLinear", "QAttention", "QGemm")):
            found[node.op_type] += 1
        elif node.op_type == "Cast" and (dtype := _narrow(node)):
            found[f"{dtype} matrices behind Cast"] += 1
    told = [f"{count} {what}" for what, count in found.most_common()]
    return ", ".join(told[:_SHOWN]) + (", ..." if len(told) > _SHOWN else "")


def half_weights(graph: Graph) -> int:
    """Count weights of 16-bit floats that are more than one number."""
    weights = [w.const_value for g in graph.model.graphs() for w in g.initializers.values()]
    return sum(w.dtype.name in ("FLOAT16", "BFLOAT16") and w.size > 1 for w in weights)


def _narrow(cast: ir.Node) -> str:
    """Return the type of the narrow matrix that a Cast widens to floats; nothing where it is none.

    A mask of zeros and ones is no weight.
    """
    to, value = cast.attributes.get("to"), cast.inputs[0]
    if to is None or to.as_int() not in _FLOATS:
        return ""
    while value is not None and value.const_value is None:
        node = value.producer()
        if node is None or node.op_type not in _THROUGH:
            return ""
        value = node.inputs[0]
    tensor = value.const_value if value is not None else None
    if tensor is None or not tensor.dtype.is_integer() or tensor.dtype.bitwidth > 8:
        return ""
    if len(tensor.shape) < 2 or np.unique(tensor.numpy()).size <= 2:
        return ""
    return str(tensor.dtype.name).lower()
