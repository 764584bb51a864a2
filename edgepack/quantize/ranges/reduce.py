"""Observes tensors and reduces each to a range by the method that a recipe names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from edgepack.quantize.ranges.entropy import entropy
from edgepack.quantize.ranges.histogram import Histogram
from edgepack.quantize.ranges.minmax import minmax
from edgepack.quantize.ranges.mse import mse
from edgepack.quantize.ranges.percentile import percentile
from edgepack.types import Range

if TYPE_CHECKING:
    from edgepack.types import Array

Method: TypeAlias = Literal["minmax", "percentile", "entropy", "mse"]
LEVELS = 255
"""Steps that 8 bits take across a range."""


class Reducer:
    """Holds one histogram a tensor, however many values it sees.

    Attributes:
        method: the name that the table records.
    """

    def __init__(self, method: str, search: Callable[[Histogram], tuple[float, float]]) -> None:
        self.method = method
        self._search = search
        self._seen: dict[str, Histogram] = {}

    def observe(self, name: str, values: Array) -> None:
        """Take in one tensor of one run."""
        if values.size:
            self._seen.setdefault(name, Histogram()).add(values)

    def ranges(self) -> dict[str, Range]:
        """Return the range of every tensor seen; that of values not all finite is not either."""
        return {name: self._range(seen) for name, seen in self._seen.items()}

    def _range(self, seen: Histogram) -> Range:
        if not seen.finite:
            return Range(low=seen.low, high=seen.high)
        low, high = self._search(seen)
        return Range(low=low, high=high, clipped=seen.outside(low, high))


def reducer(method: Method, percent: float = 99.99) -> Reducer:
    """Return the reducer of a method; `percent` is what `percentile` keeps."""
    searches: dict[Method, Callable[[Histogram], tuple[float, float]]] = {
        "minmax": minmax,
        "percentile": lambda seen: percentile(seen, percent),
        "entropy": lambda seen: entropy(seen, LEVELS),
        "mse": lambda seen: mse(seen, LEVELS),
    }
    return Reducer(method, searches[method])
