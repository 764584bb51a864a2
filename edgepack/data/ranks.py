"""Ranks and their correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgepack.types import Array


def ranks(values: Sequence[float]) -> Array:
    """Return the rank of each value from 1; equal values share the mean of their ranks."""
    _, group, sizes = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    shared: Array = (last - (sizes - 1) / 2)[group]
    return shared


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation: Pearson's over ranks; None where a side is constant."""
    a, b = (side - side.mean() for side in (ranks(left), ranks(right)))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else None
