"""A matrix at each width that it may take: levels, bytes and error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from edgepack.quantize.bits.awq import awq
from edgepack.quantize.bits.budget import Choice
from edgepack.quantize.bits.few import few
from edgepack.quantize.bits.gptq import gptq
from edgepack.quantize.bits.grids import Kind, output_error
from edgepack.quantize.bits.hqq import hqq
from edgepack.quantize.bits.rtn import rtn
from edgepack.quantize.bits.store import Stored, bytes_of
from edgepack.quantize.embedding import EmbeddingPlan
from edgepack.quantize.layers import Layer
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

Solver: TypeAlias = Literal["rtn", "hqq", "gptq", "awq"]
NODE, EXPANSION = 512, 3072
"""Bytes that the nodes of a matrix take at most: one product, or those that expand a packed one."""


class WeightsOnly(Frozen):
    """How matrices are stored.

    Attributes:
        bits: of a weight.
        method: what finds the levels.
        group: weights that share a scale.
        symmetric: zero points are the middle level.
        accuracy_level: of MatMulNBits.
        samples: most calibration samples to look at.
        size: bytes that the model may take; layers go to fewer bits for it.
    """

    bits: Literal[4, 8]
    method: Solver
    group: int
    symmetric: bool
    accuracy_level: int
    samples: int
    size: int | None = None


@dataclass(frozen=True)
class Candidate:
    """A matrix at a width: blocks, or levels and steps that are packed, and what it takes."""

    choice: Choice
    stored: Stored | None = None
    packed: tuple[Array, Array] | None = None


def candidates(
    matrix: Array,
    seen: Array | None,
    size: Array | None,
    told: WeightsOnly,
    widths: tuple[int, ...],
    layer: Layer | None,
) -> dict[int, Candidate]:
    """Return a matrix at each width.

    Args:
        matrix: [out, in].
        seen: H = X X^T of its input; None where nothing is known.
        size: mean |x| of every input channel; None where nothing is known.
        told: how it is stored.
        widths: bits, the most first. 2 are packed, for which a layer must own its weight.
        layer: that owns the weight, if one does.
    """
    found: dict[int, Candidate] = {}
    for bits in widths:
        if bits > 2:
            kind = Kind(bits, told.group, told.symmetric)
            stored = _solved(matrix, seen, size, kind, told.method)
            values = stored.blocks.values()
            values = values if stored.scales is None else values / stored.scales
            taken = NODE + bytes_of(matrix.shape, kind)
            taken += 0 if stored.scales is None else 4 * len(stored.scales) + NODE
            error = _relative(matrix, values, seen) if len(widths) > 1 else 0.0
            found[bits] = Candidate(Choice(bits, taken, error), stored)
        elif layer is not None:
            levels, steps = few(layer.weight, layer.layout.axis, "w2")
            places = [-1 if i == layer.layout.axis else 1 for i in range(levels.ndim)]
            values = layer.layout.grouped((levels * steps.reshape(places)).astype(np.float32))
            taken = EXPANSION + -(-levels.size // 4) + 2 * len(steps)
            error = _relative(matrix, values[0, :, :, 0], seen)
            found[bits] = Candidate(Choice(bits, taken, error), packed=(levels, steps))
    return found


def elsewhere(proto: onnx.ModelProto, matrices: list[int], tables: EmbeddingPlan) -> int:
    """Return the bytes of a model without some matrices, given by their elements."""
    whole = sum(len(t.raw_data) or 8 * math.prod(t.dims) for t in proto.graph.initializer)
    nodes = sum(node.ByteSize() for node in proto.graph.node) + 64 * len(proto.graph.initializer)
    rows = [t for t in proto.graph.initializer if t.name in tables.embeddings]
    saved = sum(3 * math.prod(t.dims) - 4 * t.dims[1] - NODE for t in rows)
    return int(whole + nodes - 4 * sum(matrices) - saved)


def _solved(
    matrix: Array, seen: Array | None, size: Array | None, kind: Kind, method: Solver
) -> Stored:
    if method == "rtn":
        return Stored(rtn(matrix, kind))
    if seen is None or size is None or method == "hqq":
        return Stored(hqq(matrix, kind))
    if method == "gptq":
        return Stored(gptq(matrix, seen, kind))
    return Stored(*awq(matrix, seen, size, kind))


def _relative(matrix: Array, values: Array, seen: Array | None) -> float:
    """Return the squared error of the output over the output, or of the weight over the weight."""
    wide = matrix.astype(np.float64)
    if seen is None:
        whole = float(np.square(wide).sum())
        return float(np.square(values - wide).sum()) / whole if whole else 0.0
    whole = output_error(wide, seen)
    return output_error(values - wide, seen) / whole if whole > 0 else 0.0
