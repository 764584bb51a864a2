"""The schemes that store weights in fewer bits and leave what flows in float."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from edgepack.base import Context
from edgepack.quantize.bits.bfloat import plan_bfloat, store_in_bfloat
from edgepack.quantize.bits.candidates import Solver, WeightsOnly
from edgepack.quantize.bits.packed_only import plan_packed, store_packed_only, tell_expansion
from edgepack.quantize.bits.weight_only import method_for, store_weights_only
from edgepack.quantize.require import PACKED

if TYPE_CHECKING:
    import onnx

    from edgepack.quantize.quantize import Quantize

Method: TypeAlias = Literal["auto"] | Solver
Group: TypeAlias = Literal[16, 32, 64, 128]
Accuracy: TypeAlias = Literal[0, 4]


def store_fewer(
    proto: onnx.ModelProto, told: Quantize, context: Context, *, calibrated: bool
) -> bool:
    """Store weights as the scheme of the pass says, in place.

    Args:
        proto: a prepared graph.
        told: the pass.
        context: holds the samples and runs them.
        calibrated: whether there are real samples.

    Returns:
        whether products are computed in float32.

    Raises:
        ModelError: E490 where the size cannot be met, E491 where a method lacks its data.
    """
    if told.scheme == "bf16":
        halves = plan_bfloat(proto)
        context.events.decision(halves)
        store_in_bfloat(proto, halves)
        return True
    if told.scheme in PACKED:
        plan = plan_packed(proto, told.keep, told.operators)
        context.events.decision(plan)
        store_packed_only(proto, plan, PACKED[told.scheme])
        tell_expansion(proto, plan, context)
        return True
    only = WeightsOnly(
        bits=8 if told.scheme == "w8-weight-only" else 4,
        method=method_for(told.method, calibrated=calibrated),
        group=told.group,
        symmetric=told.symmetric,
        accuracy_level=told.accuracy_level,
        samples=told.samples,
        size=told.size,
    )
    store_weights_only(proto, only, told.keep, told.operators, context)
    return told.accuracy_level == 0
