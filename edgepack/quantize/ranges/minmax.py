"""The range of all values: nothing is clipped."""

from __future__ import annotations

from edgepack.quantize.ranges.histogram import Histogram


def minmax(histogram: Histogram) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    return histogram.low, histogram.high
