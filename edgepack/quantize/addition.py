"""Keeps integer additions away from ties, which processors round differently.

ONNX Runtime adds two quantised tensors in float: a * (A / C) + b * (B / C) + z, with the scales A
and B of the terms and C of the sum. The orders of product, sum and rounding differ between
processors, and with them the answer where the true sum lies half-way between two integers. Where
both ratios are multiples of 1 / D with an odd D, no sum is nearer to a tie than 1 / (2 * D), far
beyond what float32 errs. Scales of terms are widened, by a fraction of a percent, until that is so.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

    from edgepack.types import Array

ODD = 1023
"""The denominator: sums stay 5e-4 away from a tie."""
SLACK = 2.0**-22
"""Largest relative error of a ratio of two rounded scales."""
LARGEST = 4.0
"""Sum of the ratios up to which float32 errs by less than a third of that distance."""
HARMLESS = 1.01
"""Factor by which the scale of a tensor that is also read elsewhere may widen."""
INT32 = 6
"""`onnx.TensorProto.INT32`, the type of biases."""


def clear_of_ties(first: float, second: float) -> bool:
    """Whether no sum with these two ratios of scales comes near a tie."""
    ratios = np.array([first, second])
    whole = np.round(ratios * ODD) / ODD
    return bool(np.all(np.abs(ratios - whole) <= SLACK * ratios) and ratios.sum() <= LARGEST)


def align_additions(proto: onnx.ModelProto) -> None:
    """Widen scales of terms until no addition comes near a tie, in place; biases follow.

    Additions are taken last to first, so that the scale of a sum stands before its terms' are
    changed. A scale that an addition has used already is left as it is, and so is one that would
    widen by more than `HARMLESS` where something besides the addition reads the tensor: to a sum
    with a step so much wider than the term's it makes no difference, to a layer it may. Constants
    are rounded anew to their wider scale.
    """
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    fixed: set[str] = set()
    changed: dict[str, float] = {}
    shared = _read_elsewhere(proto)

    def value(name: str) -> np.float32:
        return np.float32(changed.get(name, numpy_helper.to_array(tensors[name]).item()))

    for terms, total in reversed(list(additions(proto))):
        fixed.add(total)
        whole = value(total)
        for term in terms:
            if term not in fixed:
                scale = float(value(term))
                wide = _widened(scale, float(whole))
                if term not in shared or wide <= HARMLESS * scale:
                    changed[term] = wide
            fixed.add(term)
    before = {name: numpy_helper.to_array(tensors[name]).item() for name in changed}
    for name, scale in changed.items():
        shape = tuple(tensors[name].dims)
        array = np.full(shape, scale, np.float32)
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    factors = {name: changed[name] / before[name] for name in changed}
    _follow(proto, tensors, factors)
    _round_again(proto, tensors, factors)


def additions(proto: onnx.ModelProto) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the names of the scales of the terms and of the sum of every quantised Add."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    sums = {n.input[0]: n.input[1] for n in proto.graph.node if n.op_type == "QuantizeLinear"}
    for node in proto.graph.node:
        found = [makers.get(name) for name in node.input]
        scaled = [n.input[1] for n in found if n is not None and n.op_type == "DequantizeLinear"]
        if node.op_type == "Add" and len(scaled) == 2 and node.output[0] in sums:
            yield (scaled[0], scaled[1]), sums[node.output[0]]


def _widened(scale: float, whole: float) -> float:
    """Return the next scale whose ratio to the whole's is a multiple of 1 / ODD."""
    steps = math.ceil(scale / whole * ODD * (1 - SLACK))
    return float(np.float32(steps * whole / ODD))


def _read_elsewhere(proto: onnx.ModelProto) -> set[str]:
    """Return the scales whose dequantised tensors have more than one reader, or are answers."""
    readers = Counter(name for node in proto.graph.node for name in node.input)
    readers.update(value.name for value in proto.graph.output)
    count: Counter[str] = Counter()
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear":
            count[node.input[1]] += readers[node.output[0]]
    return {scale for scale, found in count.items() if found > 1}


def _follow(
    proto: onnx.ModelProto,
    tensors: Mapping[str, onnx.TensorProto],
    factors: Mapping[str, float],
) -> None:
    """Keep the scale of a bias the product of its layer's other two."""
    from onnx import numpy_helper

    makers = {name: node for node in proto.graph.node for name in node.output}
    for node in proto.graph.node:
        bias = makers.get(node.input[2]) if len(node.input) > 2 else None
        data = makers.get(node.input[0])
        if bias is None or data is None or bias.op_type != "DequantizeLinear":
            continue
        factor = factors.get(data.input[1]) if data.op_type == "DequantizeLinear" else None
        held = tensors.get(bias.input[0])
        if factor is None or held is None or held.data_type != INT32:
            continue
        scale: Array = numpy_helper.to_array(tensors[bias.input[1]])
        wider = (scale * factor).astype(np.float32)
        levels = np.round(numpy_helper.to_array(held) / factor).astype(np.int32)
        held.CopyFrom(numpy_helper.from_array(levels, held.name))
        tensors[bias.input[1]].CopyFrom(numpy_helper.from_array(wider, bias.input[1]))


def _round_again(
    proto: onnx.ModelProto,
    tensors: Mapping[str, onnx.TensorProto],
    factors: Mapping[str, float],
) -> None:
    """Let constants keep their values: nothing else rounds them to their new scale."""
    from onnx import numpy_helper

    done: set[str] = set()
    for node in proto.graph.node:
        held = tensors.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        factor = factors.get(node.input[1]) if held is not None else None
        if held is None or factor is None or held.name in done:
            continue
        done.add(held.name)
        levels: Array = numpy_helper.to_array(held)
        zero = numpy_helper.to_array(tensors[node.input[2]]) if len(node.input) > 2 else 0
        fewer = np.round((levels.astype(np.float64) - zero) / factor + zero)
        held.CopyFrom(numpy_helper.from_array(fewer.astype(levels.dtype), held.name))
