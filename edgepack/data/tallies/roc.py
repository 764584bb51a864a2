"""The area under the receiver operating characteristic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Row
from edgepack.data.ranks import groups
from edgepack.data.tallies import refusals
from edgepack.data.tallies.reading import IGNORED, classes, finite, first
from edgepack.data.tallies.tally import Measure
from edgepack.errors import MeasurementError
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors


class Auc(Measure):
    """Percent of pairs of a 1 and a 0 in which the 1 scores higher; equal scores count half.

    A score is one number of the first output, or of two logits the second less the first. A sample
    has one score and one label, or a list: the frames of one run, or one for each of its runs.
    A row holds a score and its label.
    """

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Return the scores of a sample beside their labels."""
        labels = classes(sample, self.name, where, 2)
        firsts = [finite(first(run), self.name, where) for run in outputs]
        scores = np.concatenate([f.ravel() for f in firsts])
        if len(scores) == 2 * len(labels) and all(f.shape[-1:] == (2,) for f in firsts):
            scores = scores[1::2] - scores[::2]
        if len(scores) == len(labels):
            return [row for row in zip(scores, labels, strict=True) if row[1] != IGNORED]
        if len(labels) > 1:
            what = f"there are {len(labels)} labels and {len(scores)} scores"
            raise refusals.label(self.name, what, where)
        raise refusals.not_scored(
            self.name, f"the first output has the shape {list(firsts[0].shape)}"
        )

    def statistic(self, table: Array) -> Statistic:
        """Count pairs group by group of equal scores (the Mann-Whitney statistic)."""
        place, count = groups(table[:, 0])
        ones = table[:, 1] == 1

        def statistic(weights: Array) -> float:
            high = np.bincount(place, weights * ones, minlength=count)
            low = np.bincount(place, weights * ~ones, minlength=count)
            pairs = high.sum() * low.sum()
            won = high @ (np.cumsum(low) - low / 2)
            return float(100 * won / pairs) if pairs else math.nan

        return statistic

    def undefined(self, table: Array) -> MeasurementError:
        """Say which class is missing."""
        if not len(table):  # and no columns either
            return super().undefined(table)
        why = f"all {len(table)} labels are {table[0, -1]:g}"
        return refusals.undefined(self.name, why, "give samples of both classes, 0 and 1")
