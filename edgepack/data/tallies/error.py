"""Errors of numbers: mean absolute and root mean square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Row
from edgepack.data.tallies import refusals
from edgepack.data.tallies.reading import finite, first, numbers
from edgepack.data.tallies.tally import Measure, ratio
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors


class MeanError(Measure):
    """Mean of |answer - label|, or the root of the mean of its squares, in the labels' unit.

    The label holds as many numbers as the first output (of all runs together). A row holds the sum
    over a sample and its numbers' count. Lower is better; what it loses is relative.
    """

    lower_is_better = True
    relative = True

    def __init__(self, name: str, power: int) -> None:
        super().__init__(name)
        self.power = power

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Sum the errors of a sample."""
        labels = numbers(sample, self.name, where)
        answers = np.concatenate([finite(first(run), self.name, where).ravel() for run in outputs])
        if len(answers) != len(labels):
            what = f"there are {len(labels)} labels and {len(answers)} answers"
            raise refusals.label(self.name, what, where)
        return [(float((np.abs(answers - labels) ** self.power).sum()), len(labels))]

    def statistic(self, table: Array) -> Statistic:
        """Return the mean, its root taken."""
        mean = ratio(table)
        return lambda weights: math.pow(mean(weights), 1 / self.power)
