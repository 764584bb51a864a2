"""Gives large convolutions the weight zero point 1, for hosts with AMX.

A convolution whose weight zero points are all 0 takes ONNX Runtime's symmetric kernel, which has no
AMX form; any other takes the general product, which has one. With levels and zero point both moved
up by one, (q + 1) - 1 = q: every weight keeps its value but those at the top, 127, which has no
level above it and becomes 126, at most one step of the channel's scale.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.base import Context

SHORTEST = 512
"""Terms in a convolution's sum (input channels x height x width of the kernel) from which the AMX
product pays; below, packing the rows costs more than it saves."""
TOP = 127


class ZeroPointPlan(Frozen):
    """Which convolutions change.

    Attributes:
        shifted: names of the DequantizeLinear nodes of their weights.
        clipped: share of these weights that sit at the top and lose a level.
    """

    shifted: tuple[str, ...]
    clipped: float


def plan_zero_point_one(proto: onnx.ModelProto) -> ZeroPointPlan:
    """Choose convolutions of one group, long sums and signed weights with the zero point 0.

    Weights that something else reads as well stay as they are.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    makers = {name: node for node in proto.graph.node for name in node.output}
    readers = Counter(name for node in proto.graph.node for name in node.input)
    found: dict[str, onnx.NodeProto] = {}
    for node in proto.graph.node:
        scaled = makers.get(node.input[1]) if node.op_type == "Conv" else None
        if scaled is None or scaled.op_type != "DequantizeLinear" or _groups(node) != 1:
            continue
        levels = constants.get(scaled.input[0])
        if levels is None or readers[levels.name] > 1 or np.prod(levels.dims[1:]) < SHORTEST:
            continue
        zero = constants.get(scaled.input[2]) if len(scaled.input) > 2 else None
        signed = numpy_helper.to_array(levels).dtype == np.int8
        if signed and (zero is None or not numpy_helper.to_array(zero).any()):
            found[scaled.output[0]] = scaled
    weights = [numpy_helper.to_array(constants[node.input[0]]) for node in found.values()]
    at_top = sum(int((levels == TOP).sum()) for levels in weights)
    return ZeroPointPlan(
        shifted=tuple(found), clipped=at_top / max(1, sum(levels.size for levels in weights))
    )


def set_zero_point_one(proto: onnx.ModelProto, context: Context) -> None:
    """Decide, tell, and move the planned weights up by one, in place."""
    plan = plan_zero_point_one(proto)
    context.events.decision({"weight_zero_point_one": plan.model_dump()})
    shift(proto, plan)


def shift(proto: onnx.ModelProto, plan: ZeroPointPlan) -> None:
    """Move the planned weights and their zero points up by one, in place."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type != "DequantizeLinear" or node.output[0] not in plan.shifted:
            continue
        name, scale = node.input[0], numpy_helper.to_array(constants[node.input[1]])
        levels = numpy_helper.to_array(constants[name]).astype(np.int16)
        raised = np.minimum(levels + 1, TOP).astype(np.int8)
        constants[name].CopyFrom(numpy_helper.from_array(raised, name))
        ones = np.ones(scale.shape, np.int8)
        proto.graph.initializer.append(numpy_helper.from_array(ones, f"{name}_zero_point_one"))
        del node.input[2:]
        node.input.append(f"{name}_zero_point_one")


def _groups(node: onnx.NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "group"), 1)
