"""95 % confidence intervals: of proportions, of correlations, and by the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgepack.base import Interval

if TYPE_CHECKING:
    from edgepack.types import Array

    Statistic: TypeAlias = Callable[[Array], float]
    """A number of a table whose rows count as often as the array says; NaN where undefined."""

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
RESAMPLES = 1000
SEED = 2026
DEFINED = 0.9
"""Share of the resamples on which a statistic must be defined, for its interval to say much."""


def wilson(right: int, samples: int) -> Interval:
    """Return Wilson's score interval of a proportion, in percent.

    Source: E. B. Wilson, Probable inference, JASA 22 (1927).
    """
    share, square = right / samples, Z * Z / samples
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square * square / 4) / (1 + square)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def matched(lost: int, won: int, samples: int) -> Interval:
    """Return the interval of the drop of a proportion over the same samples, in percent.

    Half a sample is added to each of the four outcomes, so that no sample changed does not mean
    that none could. Source: A. Agresti and Y. Min, Statistics in Medicine 24 (2005).

    Args:
        lost: samples that were right before and are not after.
        won: samples that are right after and were not before.
        samples: all of them.
    """
    total = samples + 2
    drop = (lost - won) / total
    half = Z * math.sqrt((lost + won + 1) / total - drop * drop) / math.sqrt(total)
    return 100 * max(-1.0, drop - half), 100 * min(1.0, drop + half)


def fisher(correlation: float, samples: int, *, ranks: bool) -> Interval | None:
    """Return the interval of a correlation by Fisher's z; None for fewer than four samples.

    Source: for ranks, the variance of D. G. Bonett and T. A. Wright, Psychometrika 65 (2000).
    """
    if samples < 4:
        return None
    if abs(correlation) >= 1:
        return correlation, correlation
    spread = math.sqrt((1 + correlation**2 / 2 if ranks else 1) / (samples - 3))
    z = math.atanh(correlation)
    return math.tanh(z - Z * spread), math.tanh(z + Z * spread)


def bootstrap(statistic: Statistic, samples: int) -> Interval | None:
    """Return the percentile interval of a statistic over samples drawn anew with replacement.

    The draws depend on the number of samples alone, so the same ones serve before and after.
    Source: B. Efron, The Annals of Statistics 7 (1979).

    Args:
        statistic: takes how often each of the samples counts.
        samples: how many there are; of fewer than two there is no interval.
    """
    if samples < 2:
        return None
    random = np.random.default_rng(SEED)
    found = np.array(
        [
            statistic(np.bincount(random.integers(samples, size=samples), minlength=samples))
            for _ in range(RESAMPLES)
        ]
    )
    found = found[np.isfinite(found)]
    if len(found) < DEFINED * RESAMPLES:
        return None
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
