"""How like the model as it came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Row
from edgepack.data.tallies.tally import Measure, ratio
from edgepack.graph.agreement import agreement
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors


class Cosine(Measure):
    """Mean cosine, times 100, between the outputs and those of the model as it came in.

    A row holds a sample's cosine, the mean of its runs, and 1.
    """

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Average the runs of a sample."""
        pairs = zip(reference, outputs, strict=True)
        return [(float(np.mean([agreement(want, got).cosine for want, got in pairs])), 1)]

    def statistic(self, table: Array) -> Statistic:
        """Return the mean times 100."""
        return ratio(table, 100)
