"""The range of most values: rare ones at either end are clipped."""

from __future__ import annotations

import numpy as np

from edgepack.quantize.ranges.histogram import SIDE, Histogram


def percentile(histogram: Histogram, percent: float) -> tuple[float, float]:
    """Return the range that leaves at most (100 - percent) / 2 % of the values out at each end."""
    allowed = histogram.total * (100 - percent) / 200
    counts = histogram.counts.copy()
    counts[SIDE] += histogram.zeros
    above = counts[::-1].cumsum()[::-1]  # values in bin i or a later one
    below = counts.cumsum()
    last = int(np.flatnonzero(above > allowed)[-1])
    first = int(np.flatnonzero(below > allowed)[0])
    return histogram.between(min(first, SIDE), max(last + 1, SIDE))
