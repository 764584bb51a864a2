"""Writes matrices at their levels as MatMulNBits, with its bias inside.

x ── (Mul 1/s) ── MatMulNBits(levels, scales, zeros, b) ── y
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.bits.grids import Blocks, Kind, split
from edgepack.quantize.dynamic import DOMAIN, MATRIX, DynamicPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from edgepack.types import Array


@dataclass(frozen=True)
class Stored:
    """What takes the place of a matrix.

    Attributes:
        blocks: its levels, [out, in].
        scales: what its input channels were multiplied by, [in]; None for nothing.
    """

    blocks: Blocks
    scales: Array | None = None


def store_blocks(
    proto: onnx.ModelProto, plan: DynamicPlan, stored: Mapping[str, Stored], accuracy_level: int
) -> None:
    """Replace products in place; float weights that nothing reads any more stay.

    Args:
        proto: a prepared graph.
        plan: the Adds that go into products.
        stored: by product.
        accuracy_level: 0 computes in float32; 4 rounds inputs to 8 bits, block by block.
    """
    from onnx import helper, numpy_helper

    by_name = {node.name: node for node in proto.graph.node}
    inside = {plan.biases[name] for name in stored if name in plan.biases}
    nodes: list[onnx.NodeProto] = []
    written: set[str] = set()

    def constant(name: str, value: Array) -> str:
        if name not in written:
            written.add(name)
            proto.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    for node in list(proto.graph.node):
        if node.name not in stored:
            nodes += [] if node.name in inside else [node]
            continue
        found = stored[node.name]
        blocks, x, y, bias = found.blocks, node.input[0], node.output[0], ""
        if node.name in plan.biases:
            added = by_name[plan.biases[node.name]]
            bias = next(name for name in added.input if name != y)
            y = added.output[0]
        elif len(node.input) > MATRIX:
            bias = node.input[2]
        if found.scales is not None:
            divisor = (1 / found.scales).astype(np.float32)
            inputs = [x, constant(f"{node.name}.smooth", divisor)]
            x = f"{node.name}.smoothed"
            nodes.append(helper.make_node("Mul", inputs, [x], f"{node.name}.Mul"))
        # The name tells nodes apart, not weights: AWQ gives readers of one weight their own.
        stem, kind = f"{node.name}.q{blocks.kind.bits}", blocks.kind
        inputs = [x, constant(f"{stem}.levels", packed_levels(blocks))]
        inputs.append(constant(f"{stem}.scales", blocks.scale.reshape(-1)))
        if not kind.symmetric:
            inputs.append(constant(f"{stem}.zeros", packed(blocks.zero, kind.bits).reshape(-1)))
        inputs += [""] * (5 - len(inputs)) + [bias] if bias else []
        rows, columns = blocks.levels.shape
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                inputs,
                [y],
                node.name,
                domain=DOMAIN,
                K=columns,
                N=rows,
                bits=kind.bits,
                block_size=kind.group,
                accuracy_level=accuracy_level,
            )
        )
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    if all(opset.domain != DOMAIN for opset in proto.opset_import):
        proto.opset_import.add(domain=DOMAIN, version=1)


def packed_levels(blocks: Blocks) -> Array:
    """Return levels as bytes, uint8 [out, blocks, group * bits / 8]."""
    return packed(split(blocks.levels, blocks.kind.group), blocks.kind.bits)


def packed(levels: Array, bits: int) -> Array:
    """Return whole numbers of some bits as bytes along the last axis, the first one lowest."""
    digits = 8 // bits
    width = [(0, 0)] * (levels.ndim - 1) + [(0, -levels.shape[-1] % digits)]
    spread = np.pad(levels, width).reshape(*levels.shape[:-1], -1, digits)
    return (spread.astype(np.int64) @ (1 << bits * np.arange(digits))).astype(np.uint8)


def bytes_of(shape: tuple[int, ...], kind: Kind) -> int:
    """Return the bytes of a stored matrix [out, in] with its scales and zero points."""
    rows, columns = shape
    blocks = -(-columns // kind.group)
    zeros = 0 if kind.symmetric else rows * -(-blocks * kind.bits // 8)
    return rows * blocks * (kind.group * kind.bits // 8 + 4) + zeros
