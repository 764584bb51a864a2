"""The range whose levels tell the distribution best: least Kullback-Leibler divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.ranges.histogram import SIDE, Histogram

if TYPE_CHECKING:
    from edgepack.types import Array

CANDIDATES = 128
"""Thresholds that are tried at either end."""
ROUNDS = 4
"""Most times that the two ends are searched in turn."""


def entropy(histogram: Histogram, levels: int) -> tuple[float, float]:
    """Return the range that loses the least information when it is told in so many levels.

    For a range, P is the histogram inside it with what lies outside put into its last bins, and Q
    is what `levels` levels can tell of it: each level's count spread evenly over those of its
    bins that are not empty. The range of least KL(P || Q) wins, the wider one of equals. The ends
    are searched in turn, from the whole range on, until neither moves.

    A range has a bin a level at least. It ends in a bin that is not empty, where Q has something
    to hold against P, and half the levels away from zero or at zero: nearer, too little of the
    shape is inside to tell ranges apart.

    Source: Migacz, 8-bit Inference with TensorRT, GTC 2017; there for one end.
    """
    counts = histogram.counts
    used = np.flatnonzero(counts)
    if not used.size:
        return histogram.low, histogram.high
    first, last = min(int(used[0]), SIDE), max(int(used[-1]) + 1, SIDE)
    far = levels // 2
    ends = np.flatnonzero(counts[:last] > 0)[::-1] + 1
    ends = ends[(ends == SIDE) | (ends >= SIDE + far)]
    starts = np.flatnonzero(counts > 0)
    starts = starts[(starts == SIDE) | (starts <= SIDE - far)]
    for _ in range(ROUNDS):
        before = first, last
        highs = [last, *_thinned(ends[ends - first >= levels])]
        last = min(highs, key=lambda end: _divergence(counts, first, end, levels))
        lows = [first, *_thinned(starts[last - starts >= levels])]
        first = min(lows, key=lambda start: _divergence(counts, start, last, levels))
        if before == (first, last):
            break
    return histogram.between(first, last)


def _thinned(places: Array) -> list[int]:
    """Return some of the places, evenly spread, the first and the last among them."""
    some = np.linspace(0, places.size - 1, min(CANDIDATES, places.size)).round().astype(int)
    return [int(place) for place in places[some]]


def _divergence(counts: Array, first: int, last: int, levels: int) -> float:
    """Return KL(P || Q) in nats for the bins from `first` up to `last`."""
    inside = counts[first:last].astype(np.float64)
    p = inside.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    starts = np.arange(levels) * inside.size // levels
    filled = inside > 0
    told = np.add.reduceat(inside, starts) / np.maximum(
        np.add.reduceat(filled, starts, dtype=int), 1
    )
    q = np.repeat(told, np.diff(starts, append=inside.size))
    p, q = p[filled], q[filled]
    return float((p / p.sum() * np.log((p / p.sum()) / (q / q.sum()))).sum())
