"""`fp16`: weights stored in 16 bits, computed with in 32.

    W (float16) ── Cast ── W (float32) ── whatever reads it

ONNX Runtime folds the Cast when it loads the model, so that the file and the download are halved
and nothing else changes: neither the kernels nor, beyond the rounding of the weights, the answers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.survey import float_weights
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

WORTHWHILE = 256
"""Elements below which a weight is not worth another node."""
LARGEST = 65504.0
"""The largest finite float16."""
LOSS = 1e-3
"""Largest relative error of a tensor, by its norm. Rounding costs 3e-4 at most where all weights
are normal numbers in float16; those below 6e-5 are not and lose more."""


class HalfPlan(Frozen):
    """Names of the weights to store in float16, and those that stay float32, with the reason."""

    halved: tuple[str, ...]
    left: dict[str, str]


def plan_half(proto: onnx.ModelProto) -> HalfPlan:
    """Take every large float32 weight that survives the rounding."""
    from onnx import numpy_helper

    taken = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    halved: list[str] = []
    left: dict[str, str] = {}
    for name, tensor in float_weights(proto).items():
        if math.prod(tensor.dims) < WORTHWHILE or name in taken:
            continue
        if reason := _against(numpy_helper.to_array(tensor)):
            left[name] = reason
        else:
            halved.append(name)
    return HalfPlan(halved=tuple(halved), left=left)


def store_in_half(proto: onnx.ModelProto, plan: HalfPlan) -> None:
    """Store the planned weights in float16, in place; their names are those of the casts now."""
    from onnx import helper, numpy_helper

    weights = float_weights(proto)
    casts = []
    for name in plan.halved:
        half = numpy_helper.to_array(weights[name]).astype(np.float16)
        weights[name].CopyFrom(numpy_helper.from_array(half, f"{name}.f16"))
        casts.append(helper.make_node("Cast", [f"{name}.f16"], [name], name=f"{name}.Cast", to=1))
    nodes = [*casts, *(type(n).FromString(n.SerializeToString()) for n in proto.graph.node)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _against(weight: Array) -> str:
    """Return what speaks against storing a weight in float16, or nothing."""
    if not np.isfinite(weight).all() or np.abs(weight).max() > LARGEST:
        return f"it holds values beyond {LARGEST:.0f}"
    wide = weight.astype(np.float64)
    norm = np.linalg.norm(wide)
    lost = np.linalg.norm(wide - weight.astype(np.float16)) / norm if norm else 0.0
    return f"rounding would cost {100 * lost:.2f} % of it" if lost > LOSS else ""
