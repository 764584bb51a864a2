"""Correlations of the model's numbers with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Interval, Row, Rows
from edgepack.data.intervals import fisher
from edgepack.data.ranks import groups, pearson, ranks
from edgepack.data.tallies import refusals
from edgepack.data.tallies.reading import likeness, number
from edgepack.data.tallies.tally import Measure
from edgepack.errors import MeasurementError
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors


class Pearson(Measure):
    """Pearson's correlation, times 100, of the numbers with the labels.

    A row holds a sample's number (see `reading.likeness`) and its label.
    """

    ranked = False

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Reduce a sample to its number, beside its label."""
        label = number(sample, self.name, where)
        return [(likeness(sample, outputs, self.name, where), label)]

    def statistic(self, table: Array) -> Statistic:
        """Return the correlation times 100."""
        left, right = table.T
        return lambda weights: 100 * pearson(left, right, weights)

    def interval(self, rows: Rows, samples: int) -> Interval | None:
        """Return that of Fisher's z."""
        found = fisher(self.value(rows) / 100, samples, ranks=self.ranked)
        return found and (100 * found[0], 100 * found[1])

    def undefined(self, table: Array) -> MeasurementError:
        """Say which side is constant."""
        labels = len(np.unique(table[:, 1])) == 1
        return refusals.undefined(
            self.name,
            f"all {'labels' if labels else 'answers'} of {len(table)} samples are equal",
            "give samples with different labels"
            if labels
            else "check the model: it does not tell these samples apart",
        )


class Spearman(Pearson):
    """Spearman's rank correlation, times 100: Pearson's over ranks."""

    ranked = True

    def statistic(self, table: Array) -> Statistic:
        """Return the rank correlation times 100."""
        left, right = (groups(side) for side in table.T)
        return lambda weights: 100 * pearson(ranks(*left, weights), ranks(*right, weights), weights)
