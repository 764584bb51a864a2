"""Error rates of sequences: characters (CER) and words (WER) of a CTC model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Row
from edgepack.data.tallies import refusals
from edgepack.data.tallies.reading import IGNORED, classes, finite, first
from edgepack.data.tallies.tally import Measure, ratio
from edgepack.errors import MeasurementError
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors


class EditRate(Measure):
    """Edits from answer to label, in percent of the labels' length: lower is better.

    The first output is [1, T, classes]; its largest class a step is taken, repeats are made one
    and blanks left out (greedy CTC: A. Graves et al., ICML 2006). The label is a list of classes
    without blanks. A row holds the edits and the length.

    Args:
        name: as the user wrote it.
        blank: the class of the blank; None for the last.
        space: the class between words, to count words; None to count classes.
    """

    lower_is_better = True

    def __init__(self, name: str, blank: int | None = 0, space: int | None = None) -> None:
        super().__init__(name)
        self.blank = blank
        self.space = space

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Count the edits of a sample."""
        logits = first(outputs[0])
        shaped = logits.ndim == 3 and logits.shape[0] == 1 and logits.dtype.kind == "f"
        if len(outputs) != 1 or not shaped:
            raise refusals.not_scored(
                self.name,
                f"the first output has the shape {list(logits.shape)}, not [1, T, classes]",
            )
        count = logits.shape[-1]
        blank = count - 1 if self.blank is None else self.blank
        if max(blank, self.space or 0) >= count:
            raise refusals.not_scored(self.name, f"its classes are 0 to {count - 1}")
        label = classes(sample, self.name, where, count)
        label = label[label != IGNORED]
        if blank in label:
            why = (
                f"the class {blank} is the blank; `{self.name.split('-')[0]}-blank-N` names another"
            )
            raise refusals.label(self.name, "the label holds a blank", where, why)
        answer = greedy(finite(logits[0], self.name, where), blank)
        want, got = self._units(label), self._units(answer)
        return [(distance(want, got), len(want))]

    def statistic(self, table: Array) -> Statistic:
        """Return all edits over the length of all labels."""
        return ratio(table, 100)

    def undefined(self, table: Array) -> MeasurementError:
        """Say that there is no length."""
        return refusals.undefined(self.name, "all labels are empty", "give labels with classes")

    def _units(self, ids: Array) -> list[tuple[int, ...]]:
        """Return what is counted: words, or each class as a word of its own."""
        if self.space is None:
            return [(int(i),) for i in ids]
        parts = np.split(ids, np.flatnonzero(ids == self.space))
        words = (tuple(int(i) for i in part if i != self.space) for part in parts)
        return [word for word in words if word]


def greedy(logits: Array, blank: int) -> Array:
    """Return the classes that [T, classes] spells: repeats made one, then blanks left out."""
    best = logits.argmax(axis=1)
    kept = (best != blank) & np.append(True, best[1:] != best[:-1])[: len(best)]
    spelt: Array = best[kept]
    return spelt


def distance(want: Sequence[object], got: Sequence[object]) -> int:
    """Return the fewest insertions, deletions and substitutions (Levenshtein, 1966)."""
    ids = {unit: index for index, unit in enumerate(dict.fromkeys([*want, *got]))}
    target = np.array([ids[unit] for unit in got], dtype=np.int64)
    steps = np.arange(len(got) + 1)
    row = steps
    for unit in want:
        # An insertion costs one a step to the right: with that taken off, a running minimum.
        reached = np.append(row[0] + 1, np.minimum(row[1:] + 1, row[:-1] + (target != ids[unit])))
        row = np.minimum.accumulate(reached - steps) + steps
    return int(row[-1])
