"""Ranks and correlations of values that count several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgepack.types import Array


def groups(values: Array) -> tuple[Array, int]:
    """Return the place of each value among the distinct ones in their order, and their number."""
    distinct, place = np.unique(values, return_inverse=True)
    return place, len(distinct)


def ranks(place: Array, count: int, weights: Array) -> Array:
    """Return the rank of each value from 1; equal values share the mean of their ranks.

    Args:
        place: which of `count` ordered groups of equal values each belongs to.
        count: how many groups there are.
        weights: how often each value counts, [n].
    """
    sizes = np.bincount(place, weights, minlength=count)
    shared: Array = (np.cumsum(sizes) - (sizes - 1) / 2)[place]
    return shared


def pearson(left: Array, right: Array, weights: Array) -> float:
    """Return Pearson's correlation, a pair counted `weights` times; NaN for a constant side."""
    total = weights.sum()
    a, b = (side - (weights @ side) / total for side in (left, right))
    # Means of equal values carry a rounding of the values' own size.
    if any(_flat(side, weights) for side in (left, right)):
        return float("nan")
    spread = np.sqrt(weights @ (a * a)) * np.sqrt(weights @ (b * b))
    return float(np.clip((weights @ (a * b)) / spread, -1, 1)) if spread else float("nan")


def _flat(values: Array, weights: Array) -> bool:
    counted = values[weights > 0]
    return bool(counted.min() == counted.max())
