"""`w2-`, `ternary-` and `binary-weight-only`: few levels, in bytes that hold several."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgepack.base import Context
from edgepack.graph import Graph
from edgepack.quantize.bits.few import few
from edgepack.quantize.layers import layout_of
from edgepack.quantize.packed import store_packed
from edgepack.quantize.survey import float_weights, kept, weighted
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Width


class PackedPlan(Frozen):
    """What was decided.

    Attributes:
        packed: weights, and the axis of their scales.
        left: layers that stay float, with the reason.
    """

    packed: dict[str, int]
    left: dict[str, str]


def plan_packed(
    proto: onnx.ModelProto, keep: tuple[str, ...], operators: tuple[str, ...]
) -> PackedPlan:
    """Take the constant weight of every convolution and product."""
    weights = float_weights(proto)
    answers = {value.name for value in proto.graph.output}
    found: dict[str, int] = {}
    left: dict[str, str] = {}
    for node in proto.graph.node:
        if not weighted(node, weights):
            continue
        name, axis = node.input[1], layout_of(node).axis
        if kept(node, keep):
            left[node.name] = "the recipe keeps it"
        elif operators and node.op_type not in operators:
            left[node.name] = f"`{node.op_type}` is not among the operators to quantise"
        elif len(weights[name].dims) < 2 or name in answers:
            left[node.name] = "its weight is no matrix of its own"
        elif found.setdefault(name, axis) != axis:
            left[node.name] = "its weight is read along another axis elsewhere"
    spared = {node.input[1] for node in proto.graph.node if node.name in left}
    return PackedPlan(packed={n: a for n, a in found.items() if n not in spared}, left=left)


def store_packed_only(proto: onnx.ModelProto, plan: PackedPlan, width: Width) -> None:
    """Store the planned weights in place."""
    from onnx import numpy_helper

    weights = float_weights(proto)
    arrays = {name: numpy_helper.to_array(weights[name]) for name in plan.packed}
    for name, axis in plan.packed.items():
        levels, steps = few(arrays[name], axis, width)
        store_packed(proto, name, levels, steps, None, axis, width)


def tell_expansion(proto: onnx.ModelProto, plan: PackedPlan, context: Context) -> None:
    """Say that the packing saves storage only, and how long it takes to load."""
    began = time.perf_counter()
    with context.runner.open(Graph.from_proto(proto)):
        taken = time.perf_counter() - began
    context.events.decision({"load_seconds": round(taken, 3)})
    count = len(plan.packed)
    context.events.note(f"storage only: expanded when it is loaded ({count} weights)")
