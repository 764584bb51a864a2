"""The range of least expected squared error: clipping some buys finer steps for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.ranges.histogram import SIDE, Histogram

if TYPE_CHECKING:
    from edgepack.types import Array

ROUNDS = 20
"""Most times that the two ends are searched in turn."""


def mse(histogram: Histogram, levels: int) -> tuple[float, float]:
    """Return the range of least expected squared error in so many levels.

    A value inside errs by step^2 / 12 on average, a value outside by its squared distance to the
    range, zero not at all. Every edge of a bin is tried, the ends in turn, from the whole range
    on, until neither moves.

    Source: Banner et al., Post-training 4-bit quantization, arXiv:1810.05723, section 2.
    """
    used = np.flatnonzero(histogram.counts)
    if not used.size:
        return histogram.low, histogram.high
    first, last = min(int(used[0]), SIDE), max(int(used[-1]) + 1, SIDE)
    starts, ends = np.arange(first, SIDE + 1), np.arange(SIDE, last + 1)
    # In units of a bin, counted from zero.
    under = _beyond(histogram.counts[SIDE - 1 :: -1])[SIDE - starts]
    over = _beyond(histogram.counts[SIDE:])[ends - SIDE]
    upto = np.concatenate([[0], histogram.counts.cumsum()])

    def rounding(low: Array | int, high: Array | int) -> Array:
        held: Array = (upto[high] - upto[low]) * (np.subtract(high, low) / levels) ** 2 / 12
        return held

    for _ in range(ROUNDS):
        before = first, last
        last = int(ends[np.argmin(over + rounding(first, ends))])
        first = int(starts[np.argmin(under + rounding(starts, last))])
        if before == (first, last):
            break
    return histogram.between(first, last)


def _beyond(counts: Array) -> Array:
    """Return for every edge, from zero outwards, the squared distances of the values beyond it.

    sum c (m - t)^2 = sum c m^2 - 2 t sum c m + t^2 sum c, over the bins beyond t.
    """
    centres = np.arange(counts.size) + 0.5
    sums = [np.append(np.cumsum((counts * centres**power)[::-1])[::-1], 0.0) for power in (0, 1, 2)]
    at = np.arange(counts.size + 1)
    beyond: Array = sums[2] - 2 * at * sums[1] + at**2 * sums[0]
    return np.maximum(beyond, 0.0)
