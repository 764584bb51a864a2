"""A metric that a user wrote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgepack.base import Interval, Rows
from edgepack.data.function import UserFunction
from edgepack.data.tallies import refusals
from edgepack.errors import MeasurementError
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.types import Tensors


class Custom:
    """A user's ``metric(outputs, labels) -> float``; all outputs are kept until it is called.

    It is handed one mapping a sample, or a tuple of mappings for samples of several runs. A true
    attribute ``lower_is_better`` of the function says so, and its drop is then relative.
    """

    def __init__(self, function: UserFunction) -> None:
        self.samples = 0
        self.lower_is_better = False
        self.relative = False
        self._function = function
        self._outputs: list[Any] = []
        self._labels: list[Any] = []

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Keep the outputs."""
        runs = tuple(dict(run) for run in outputs)
        self._outputs.append(runs[0] if len(runs) == 1 else runs)
        self._labels.append(sample.label)
        self.samples += 1

    def value(self) -> float:
        """Return what the user's function makes of them."""
        name = self._function.reference
        if not self.samples:
            raise refusals.nothing(name)
        answer = self._function(self._outputs, self._labels)
        self.lower_is_better = self.relative = self._function.marked("lower_is_better")
        try:
            value = float(answer)
        except (TypeError, ValueError):
            value = math.nan
        if math.isfinite(value):
            return value
        raise MeasurementError("E508", f"`{name}` gave {answer!r}", fix="return a finite number")

    def interval(self) -> Interval | None:
        """Return None: a function of all samples says nothing of one."""
        return None

    def rows(self) -> Rows:
        """Return nothing, for the same reason."""
        return ()
