"""A histogram that grows with what it sees and depends on no order.

Bins are as wide as a power of two, with an edge at zero. When a value lies outside, neighbours are
merged until it lies inside; the result is what the final width would have given from the start, so
that any order of the same values ends in the same counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgepack.types import Array

SIDE = 4096
"""Bins on either side of zero. At least half of the longer side is in use: 8 bins a level of 8
bits, for a tensor of one sign."""


class Histogram:
    """Counts values in bins.

    Attributes:
        low, high: the smallest and the largest value; NaN once a NaN was seen.
        zeros: values that are exactly zero; they are in no bin, for no range rounds or clips them.
        width: of a bin; 0 until there was another value than zero.
        counts: int64 of length 2 * SIDE; bin i holds [i - SIDE, i - SIDE + 1) * width.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.zeros = 0
        self.width = 0.0
        self.counts: Array = np.zeros(2 * SIDE, np.int64)

    @property
    def total(self) -> int:
        """Number of values."""
        return self.zeros + int(self.counts.sum())

    @property
    def finite(self) -> bool:
        """Whether neither a NaN nor an infinity was seen."""
        return math.isfinite(self.high - self.low)

    @property
    def edges(self) -> Array:
        """Where bins begin and end: float64 of length 2 * SIDE + 1."""
        return np.arange(-SIDE, SIDE + 1) * self.width

    def add(self, values: Array) -> None:
        """Count the values of one tensor."""
        if not values.size:
            return
        self.low = float(np.minimum(self.low, values.min()))
        self.high = float(np.maximum(self.high, values.max()))
        if not self.finite:
            return
        found = values[values != 0].astype(np.float64)
        self.zeros += values.size - found.size
        if found.size:
            self._reach(max(abs(self.low), abs(self.high)))
            places = np.floor(found / self.width).astype(np.int64) + SIDE
            self.counts += np.bincount(places, minlength=2 * SIDE)

    def between(self, first: int, last: int) -> tuple[float, float]:
        """Return the range from one edge, zero or below, to another, zero or above.

        It reaches no further than the values and zero, which every quantised range holds.
        """
        low, high = ((edge - SIDE) * self.width for edge in (first, last))
        return max(low, min(self.low, 0.0)), min(high, max(self.high, 0.0))

    def outside(self, low: float, high: float) -> float:
        """Return the share of the values in bins that lie wholly outside a range."""
        edges = self.edges
        beyond = self.counts[(edges[1:] <= low) | (edges[:-1] > high)]
        return float(beyond.sum() / self.total)

    def _reach(self, most: float) -> None:
        """Widen the bins until `most` lies inside, merging what was counted."""
        needed = math.ldexp(1.0, math.frexp(most)[1]) / SIDE  # most < SIDE * needed
        while 0 < self.width < needed:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(pairs, SIDE // 2)
            self.width *= 2
        self.width = max(self.width, needed)
