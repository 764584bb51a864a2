"""The levels that the QDQ quantiser will give a weight, known before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from edgepack.types import Array

NARROWEST = 1e-4
"""Smallest range given to a tensor or channel. A channel of zeros otherwise gets the scale 1, in
which its bias is rounded to whole steps of the input, and among u8 weights a zero point of its own,
where the kernel wants one for all."""
LEVELS: dict[tuple[str, bool, bool], tuple[int, int]] = {
    ("s8", True, False): (-127, 127),
    ("s8", False, False): (-128, 127),
    ("s8", True, True): (-64, 64),
    ("s8", False, True): (-64, 64),
    ("u8", True, False): (0, 255),
    ("u8", False, False): (0, 255),
    ("u8", True, True): (0, 127),
    ("u8", False, True): (0, 127),
}
"""Lowest and highest level by type, symmetry and reduced range."""


@dataclass(frozen=True)
class Grid:
    """Where the levels of a weight lie: w = (level - zero) * scale.

    Attributes:
        scale, zero: float64, shaped to broadcast against the weight.
        low, high: the first and the last level.
        least, most: the range that decides the scale, shaped as it is; weights at its ends must
            stay there.
    """

    scale: Array
    zero: Array
    low: int
    high: int
    least: Array
    most: Array

    def levels(self, weight: Array) -> Array:
        """Return the nearest levels, less the zero point, float64: divided in float32, as there."""
        ratio = np.round(weight.astype(np.float32) / self.scale.astype(np.float32))
        least, most = (-128, 127) if self.low < 0 else (0, 255)
        found: Array = np.clip(ratio + self.zero, least, most) - self.zero
        return found

    def nearest(self, weight: Array) -> Array:
        """Return the values of the nearest levels, float64."""
        return self.levels(weight) * self.scale


def grid_of(
    weight: Array,
    axis: int | None,
    weight_type: Literal["s8", "u8"],
    *,
    symmetric: bool,
    narrow: bool,
) -> Grid:
    """Return the grid of a weight, with a scale for all (`axis` None) or one along an axis.

    Source: Jacob et al., Quantization and Training of Neural Networks, arXiv:1712.05877, section 2.
    """
    low, high = LEVELS[weight_type, symmetric, narrow]
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    least = np.minimum(weight.min(axis=others, keepdims=True), np.float32(0))
    most = np.maximum(weight.max(axis=others, keepdims=True), np.float32(0))
    most = np.maximum(most, least + np.float32(NARROWEST))
    if symmetric:
        most = np.maximum(-least, most)
        least = -most
    scale = (most.astype(np.float64) - least) / (high - low)
    zero = np.full(scale.shape, np.round((low + high) / 2))
    zero = zero if symmetric else np.round(low - least / scale)
    return Grid(scale.astype(np.float32).astype(np.float64), zero, low, high, least, most)
