"""Rounds weights up or down so that the layer's output errs least, not each weight.

With E = W - Q and H = X X^T over what the layer saw, the squared error of its output is
trace(E H E^T): rows err apart from each other, and moving one weight by d changes its row by
2 d (E H)_j + d^2 H_jj. From the nearest levels on, each weight in turn takes the other of the two
levels around it where that lowers the error, until none does.

Source: Nagel et al., Up or Down? Adaptive Rounding, arXiv:2004.10568, equation 9; solved by
coordinate descent instead of a relaxation, so that the levels are exact at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.grid import Grid
from edgepack.quantize.layers import Layer
from edgepack.quantize.probe import Probe

if TYPE_CHECKING:
    from edgepack.types import Array

SWEEPS = 8
"""Most times that every weight is looked at; few change after the third."""
DAMPING = 0.01
"""Share of H's mean diagonal that is added to it: what the samples did not show may still come."""
LARGEST = 64 << 20
"""Bytes of the largest H: beyond, a layer keeps the nearest levels."""
COPIED = {"kernel_shape", "strides", "pads", "dilations", "auto_pad"}


def gram(probe: Probe, layer: Layer) -> str:
    """Add nodes that give X X^T of a layer's input, [groups, in * positions, in * positions].

    A convolution's patches are those that one with one-hot kernels gives. Returns the output's
    name; layers that share an input share it.
    """
    node, layout = layer.node, layer.layout
    source = node.input[0]
    groups, _, inputs, positions = layout.grouped(layer.weight).shape
    size = inputs * positions
    if layout.operator == "Conv":
        name = f"gram for {node.output[0]}"
        hot = np.tile(np.eye(size, dtype=np.float32), (groups, 1))
        kernel = probe.constant(f"{name} hot", hot.reshape(-1, *layer.weight.shape[1:]))
        patches = probe.node("Conv", [source, kernel], f"{name} patches", group=groups)
        probe.nodes[-1].attribute.extend(a for a in node.attribute if a.name in COPIED)
        shape = probe.constant(f"{name} shape", np.array([0, groups, size, -1], np.int64))
        rows = probe.node("Reshape", [patches, shape], f"{name} rows")
        columns = probe.node("Transpose", [rows], f"{name} columns", perm=[0, 1, 3, 2])
        product = probe.node("MatMul", [rows, columns], f"{name} product")
        probe.reduced("ReduceSum", product, [0], name)
        probe.outputs.append(name)
        return name
    name = f"gram of {source}"
    if name not in probe.outputs:
        shape = probe.constant(f"{name} shape", np.array([1, -1, size], np.int64))
        columns = probe.node("Reshape", [source, shape], f"{name} columns")
        rows = probe.node("Transpose", [columns], f"{name} rows", perm=[0, 2, 1])
        probe.node("MatMul", [rows, columns], name)
        probe.outputs.append(name)
    return name


def refusal(layer: Layer) -> str:
    """Say why a layer's weights keep the nearest levels; nothing where they may move."""
    groups, _, inputs, positions = layer.layout.grouped(layer.weight).shape
    if layer.layout.operator == "ConvTranspose":
        return "what a transposed convolution sees is not gathered"
    if 4 * groups * (inputs * positions) ** 2 > LARGEST:
        return "it has too many inputs"
    if any(a.name == "transA" and a.i for a in layer.node.attribute):
        return "its input is transposed"
    return ""


def rounded(layer: Layer, grid: Grid, seen: Array) -> Array:
    """Return a layer's weight with every value on one of the two levels around it, float32.

    Values that decide the scale stay as they are, so that quantising the result gives these levels.

    Args:
        layer: its weight is [..] as its operator lays it out.
        grid: where its levels lie.
        seen: H, [groups, n, n] with n = in * positions.
    """
    layout, shape = layer.layout, layer.weight.shape

    def flat(values: Array) -> Array:
        found = layout.grouped(np.broadcast_to(values, shape))
        return found.reshape(*found.shape[:2], -1)

    weight = flat(layer.weight.astype(np.float64))
    scale, zero, least, most = map(flat, (grid.scale, grid.zero, grid.least, grid.most))
    low, high = grid.low - zero, grid.high - zero
    level = flat(grid.levels(layer.weight))
    fixed = (weight <= least) | (weight >= most)
    floor = np.clip(np.floor(weight / scale), low, high)
    choices = [np.where(fixed, level, c) for c in (floor, np.clip(floor + 1, low, high))]
    found = _descended(weight, scale, choices, level, seen)
    values = np.where(fixed, weight, np.clip(found * scale, least, most))
    grouped = values.reshape(layout.grouped(layer.weight).shape)
    return layout.laid_out(grouped, shape).astype(np.float32)


def _descended(
    weight: Array, scale: Array, choices: Sequence[Array], level: Array, seen: Array
) -> Array:
    """Return levels, less the zero point, of least error: all arrays [groups, out, n]."""
    floor, ceiling = choices
    seen = seen.astype(np.float64)
    diagonal = np.einsum("gii->gi", seen)
    diagonal += DAMPING * diagonal.mean(axis=1, keepdims=True)
    level = level.copy()
    # (W - Q) H, kept current as Q moves.
    slope = (weight - level * scale) @ seen
    for _ in range(SWEEPS):
        moved = 0
        for place in range(weight.shape[2]):
            here = level[:, :, place]
            other = np.where(here == floor[:, :, place], ceiling[:, :, place], floor[:, :, place])
            step = (here - other) * scale[:, :, place]  # what E gains
            gain = 2 * step * slope[:, :, place] + step**2 * diagonal[:, None, place]
            step = np.where(gain < 0, step, 0.0)
            count = int(np.count_nonzero(step))
            if count:
                moved += count
                level[:, :, place] = np.where(gain < 0, other, here)
                slope += step[:, :, None] * seen[:, None, place]
        if moved * 1000 < weight.size:
            break
    return level
