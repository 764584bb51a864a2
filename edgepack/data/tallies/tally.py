"""The tally of a metric that is a function of a few numbers a sample."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Interval, Row, Rows
from edgepack.data.intervals import bootstrap
from edgepack.data.tallies import refusals
from edgepack.errors import MeasurementError
from edgepack.report import lost
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors

MOST_DRAWN = 100_000
"""Rows up to which a value's bootstrap is drawn, in some 10 s; the interval of more is narrow."""


class Measure(ABC):
    """A metric as two functions: a sample becomes rows of numbers, and all rows a value.

    A sample that holds several answers, as frames or tokens do, may become several rows or none;
    samples are what is drawn in the bootstrap, since the answers of one hang together.
    """

    lower_is_better = False
    relative = False

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Return the rows of one sample; raises a `MeasurementError` for what does not fit."""

    @abstractmethod
    def statistic(self, table: Array) -> Statistic:
        """Return the value of [rows, columns] as a function of how often each row counts."""

    def undefined(self, table: Array) -> MeasurementError:
        """Say why there is no value."""
        return refusals.undefined(
            self.name, "no sample has a label that counts", "give labels that are not all ignored"
        )

    def value(self, rows: Rows) -> float:
        """Return the value; raises E507 where there is none."""
        table = _table(rows)
        if len(table):
            found = self.statistic(table[:, 1:])(np.ones(len(table)))
            if math.isfinite(found):
                return found
        raise self.undefined(table[:, 1:])

    def interval(self, rows: Rows, samples: int) -> Interval | None:
        """Return the 95 % confidence interval of the value; none above `MOST_DRAWN` rows."""
        if len(rows) > MOST_DRAWN:
            return None
        return bootstrap(self._over_samples(rows), samples)

    def drop_interval(self, before: Rows, after: Rows, samples: int) -> Interval | None:
        """Return that of the drop, from the same samples scored before and after."""
        one, other = self._over_samples(before), self._over_samples(after)
        return bootstrap(
            lambda weights: lost(
                one(weights),
                other(weights),
                lower_is_better=self.lower_is_better,
                relative=self.relative,
            ),
            samples,
        )

    def _over_samples(self, rows: Rows) -> Statistic:
        table = _table(rows)
        owners, statistic = table[:, 0].astype(np.int64), self.statistic(table[:, 1:])
        return lambda weights: statistic(weights[owners])


class RowTally:
    """Collects the rows of a measure."""

    def __init__(self, measure: Measure) -> None:
        self.samples = 0
        self.lower_is_better = measure.lower_is_better
        self.relative = measure.relative
        self._measure = measure
        self._rows: list[Row] = []

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Reduce a sample to its rows."""
        where = f"sample {self.samples}"
        for row in self._measure.reduce(sample, outputs, reference, where):
            self._rows.append((float(self.samples), *map(float, row)))
        self.samples += 1

    def value(self) -> float:
        """Return the value; raises E507 where there is none and E509 without samples."""
        if not self.samples:
            raise refusals.nothing(self._measure.name)
        return self._measure.value(self.rows())

    def interval(self) -> Interval | None:
        """Return its 95 % confidence interval, where there is one."""
        return self._measure.interval(self.rows(), self.samples)

    def rows(self) -> Rows:
        """Return the rows so far."""
        return tuple(self._rows)


def ratio(table: Array, scale: float = 1.0) -> Statistic:
    """Return the sum of the first column over that of the second, times `scale`."""

    def statistic(weights: Array) -> float:
        over = weights @ table[:, 1]
        return float(scale * (weights @ table[:, 0]) / over) if over else math.nan

    return statistic


def _table(rows: Rows) -> Array:
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 1)
