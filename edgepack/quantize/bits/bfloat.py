"""`bf16`: weights stored in the upper 16 bits of a float32, computed with in 32.

As for `fp16`, ONNX Runtime folds the Cast when it loads the model. The range is that of float32,
so that no weight overflows; 8 bits of precision are left, which cost up to 0.4 % of each weight.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.half import WORTHWHILE, HalfPlan
from edgepack.quantize.survey import float_weights

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

BFLOAT16 = 16
"""`onnx.TensorProto.BFLOAT16`."""


def plan_bfloat(proto: onnx.ModelProto) -> HalfPlan:
    """Take every large float32 weight that is finite."""
    from onnx import numpy_helper

    taken = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    halved: list[str] = []
    left: dict[str, str] = {}
    for name, tensor in float_weights(proto).items():
        if math.prod(tensor.dims) < WORTHWHILE or name in taken:
            continue
        if np.isfinite(numpy_helper.to_array(tensor)).all():
            halved.append(name)
        else:
            left[name] = "it holds values that are not finite"
    return HalfPlan(halved=tuple(halved), left=left)


def store_in_bfloat(proto: onnx.ModelProto, plan: HalfPlan) -> None:
    """Store the planned weights in bfloat16, in place; their names are those of the casts now."""
    from onnx import helper, numpy_helper

    weights = float_weights(proto)
    casts = []
    for name in plan.halved:
        value = numpy_helper.to_array(weights[name])
        weights[name].Clear()
        weights[name].name, weights[name].data_type = f"{name}.bf16", BFLOAT16
        weights[name].dims.extend(value.shape)
        weights[name].raw_data = rounded(value).astype("<u2").tobytes()
        casts.append(helper.make_node("Cast", [f"{name}.bf16"], [name], name=f"{name}.Cast", to=1))
    nodes = [*casts, *(type(n).FromString(n.SerializeToString()) for n in proto.graph.node)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def rounded(value: Array) -> Array:
    """Return the bits of finite float32 as bfloat16, uint16, ties to even."""
    bits = np.ascontiguousarray(value, np.float32).view(np.uint32).astype(np.uint64)
    found: Array = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return found
