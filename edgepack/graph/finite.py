"""Finds weights that diverged: NaN anywhere, infinities where a layer multiplies by them.

Infinity as such is legal: causal masks are full of it, clips have it as a limit, and positions
gather rows of such masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.errors import ModelError

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.types import Array

PIECE = 1 << 22
"""Elements looked at in one go."""
SHOWN = 4
WEIGHTS = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "MatMul": (0, 1), "Gemm": (0, 1, 2),
    "LSTM": (1, 2, 3), "GRU": (1, 2, 3), "RNN": (1, 2, 3), "BatchNormalization": (1, 2, 3, 4),
    "LayerNormalization": (1, 2), "InstanceNormalization": (1, 2), "GroupNormalization": (1, 2),
    "RMSNormalization": (1,), "SimplifiedLayerNormalization": (1,), "PRelu": (1,),
    "SkipLayerNormalization": (2, 3, 4), "Attention": (1, 2), "FusedMatMul": (0, 1),
    "FusedConv": (1, 2), "FusedGemm": (0, 1, 2), "MatMulNBits": (2,), "QuantizeLinear": (1,),
    "DequantizeLinear": (1,), "Gather": (0,),
}  # fmt: skip
"""Inputs of operators that are multiplied, added to every result, or looked up, as layers do."""
THROUGH = frozenset({
    "Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators after which a weight is still a weight."""


def refuse_diverged(model: ir.Model) -> None:
    """Refuse a model whose constants hold NaN, or whose layers hold infinities.

    Raises:
        ModelError: E408, naming the first tensors and how many there are.
    """
    nan, infinite = [], []
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            holds_nan, holds_infinity = _looked_at(value.const_value)
            if holds_nan:
                nan.append(name)
            elif holds_infinity and (reader := _layer(value, value.const_value)):
                infinite.append((name, reader))
    for node in model.graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.type.name == "TENSOR" and _looked_at(attribute.as_tensor())[0]:
                nan.append(f"{attribute.name} of {node.name or node.op_type}")
    if not nan and not infinite:
        return
    names = nan or [name for name, _ in infinite]
    kind = "NaN" if nan else "infinite values"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    raise ModelError(
        "E408",
        f"{len(names)} {'tensor holds' if len(names) == 1 else 'tensors hold'} {kind}",
        where=", ".join(f"`{name}`" for name in names[:SHOWN]) + more,
        why="" if nan else f"{infinite[0][1]} computes with it",
        fix="export the model again from weights that did not diverge",
    )


def _looked_at(tensor: ir.TensorProtocol) -> tuple[bool, bool]:
    """Return whether a tensor holds NaN, and whether infinities."""
    if tensor.dtype.is_integer() or tensor.dtype.name in ("STRING", "BOOL"):
        return False, False
    values: Array = tensor.numpy().reshape(-1)
    infinite = False
    for start in range(0, values.size, PIECE):
        piece = values[start : start + PIECE]
        if np.isfinite(piece).all():
            continue
        if np.isnan(piece).any():
            return True, infinite
        infinite = True
    return False, infinite


def _layer(value: ir.Value, tensor: ir.TensorProtocol) -> str:
    """Name the layer that reads a value as its weight; nothing where none does."""
    waiting = list(value.uses())
    while waiting:
        use = waiting.pop(0)
        node = use.node
        if node.op_type in THROUGH and use.idx == 0:
            waiting += node.outputs[0].uses()
        elif use.idx in WEIGHTS.get(node.op_type, ()):
            if node.op_type == "Gather" and _is_mask(tensor):
                continue
            return f"{node.op_type} `{node.name or node.outputs[0].name}`"
    return ""


def _is_mask(tensor: ir.TensorProtocol) -> bool:
    """Whether all that is finite is one number, such as the zeros of a causal mask."""
    values: Array = tensor.numpy().reshape(-1)
    finite = values[np.isfinite(values)]
    return finite.size == 0 or bool((finite == finite[0]).all())
