"""Metrics of classes: accuracy, the k best, F1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Interval, Row, Rows
from edgepack.data.intervals import matched, wilson
from edgepack.data.tallies import refusals
from edgepack.data.tallies.reading import chosen, positions
from edgepack.data.tallies.tally import Measure, ratio
from edgepack.errors import MeasurementError
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors


class Accuracy(Measure):
    """Percent of labels that are the largest logit, or the integer answer.

    A row holds how many answers of the sample are right, and how many there are.
    """

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Count the right answers of a sample."""
        answers, labels = positions(sample, outputs, self.name, where)
        return [(self._right(answers, labels), len(labels))]

    def statistic(self, table: Array) -> Statistic:
        """Return the percentage of right answers."""
        return ratio(table, 100)

    def interval(self, rows: Rows, samples: int) -> Interval | None:
        """Return Wilson's interval for one answer a sample, else that of the bootstrap."""
        if all(total == 1 for _, _, total in rows):
            return wilson(int(sum(right for _, right, _ in rows)), samples)
        return super().interval(rows, samples)

    def drop_interval(self, before: Rows, after: Rows, samples: int) -> Interval | None:
        """Return that of matched proportions for one answer a sample, else the bootstrap's."""
        if any(total != 1 for _, _, total in before + after):
            return super().drop_interval(before, after, samples)
        pairs = [(one, other) for (_, one, _), (_, other, _) in zip(before, after, strict=True)]
        return matched(pairs.count((1, 0)), pairs.count((0, 1)), samples)

    def _right(self, answers: Array, labels: Array) -> int:
        return int((chosen(answers) == labels).sum())


class Top(Accuracy):
    """Percent of labels among the k largest logits; of equal ones the first come first."""

    def __init__(self, name: str, k: int) -> None:
        super().__init__(name)
        self.k = k

    def _right(self, answers: Array, labels: Array) -> int:
        if answers.ndim == 1:
            raise refusals.not_scored(self.name, "the first output is an integer, not logits")
        if self.k >= answers.shape[1]:
            raise refusals.not_scored(self.name, f"it tells {answers.shape[1]} classes apart")
        own = answers[np.arange(len(labels)), labels][:, None]
        earlier = np.arange(answers.shape[1]) < labels[:, None]
        ahead = ((answers > own) | ((answers == own) & earlier)).sum(axis=1)
        return int(((ahead < self.k) & ~np.isnan(answers).any(axis=1)).sum())


class F1(Measure):
    """F1, times 100: the mean over the classes that are a label or an answer, or of one class.

    A row holds an answer and its label; an answer of NaN is -1, which is no class.
    """

    def __init__(self, name: str, only: int | None = None) -> None:
        super().__init__(name)
        self.only = only

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Return the class of each answer, and its label."""
        answers, labels = positions(sample, outputs, self.name, where)
        return list(zip(chosen(answers), labels, strict=True))

    def statistic(self, table: Array) -> Statistic:
        """Return the harmonic mean of precision and recall, class by class, averaged."""
        known, place = np.unique(table, return_inverse=True)
        answers, labels = place.reshape(table.shape).T
        right, count = answers == labels, len(known)
        judged = known >= 0 if self.only is None else known == self.only

        def statistic(weights: Array) -> float:
            both = np.bincount(labels, weights * right, minlength=count)
            either = np.bincount(answers, weights, minlength=count)
            either = either + np.bincount(labels, weights, minlength=count)
            present = judged & (either > 0)
            if not present.any():
                return math.nan
            return float(100 * np.mean(2 * both[present] / either[present]))

        return statistic

    def undefined(self, table: Array) -> MeasurementError:
        """Say which class is missing."""
        if not len(table) or self.only is None:
            return super().undefined(table)
        why = f"class {self.only} is neither a label nor an answer"
        return refusals.undefined(self.name, why, f"give samples of class {self.only}")
