"""Calibration: one sweep of samples through the graph, reduced as it goes to a frozen table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgepack.base import Context
from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.sequence import answers
from edgepack.types import QuantTable, Range, Samples

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array


class Reducer(Protocol):
    """Takes in tensors one by one and keeps no more of each than a range needs."""

    @property
    def method(self) -> str:
        """The name that the table records."""

    def observe(self, name: str, values: Array) -> None:
        """Take in one tensor of one run."""

    def ranges(self) -> dict[str, Range]:
        """Return the range of every tensor seen."""


class MinMax:
    """Keeps the smallest and largest value."""

    method = "minmax"

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}

    def observe(self, name: str, values: Array) -> None:
        """Widen the range of a tensor."""
        if values.size:
            low, high = float(values.min()), float(values.max())
            before = self._seen.get(name, (low, high))
            # np.minimum, unlike min, lets a NaN through to be told of.
            self._seen[name] = (
                float(np.minimum(before[0], low)),
                float(np.maximum(before[1], high)),
            )

    def ranges(self) -> dict[str, Range]:
        """Return the range of every tensor seen."""
        return {name: Range(low=low, high=high) for name, (low, high) in self._seen.items()}


def calibrate(
    proto: onnx.ModelProto,
    tensors: Sequence[str],
    samples: Samples,
    limit: int,
    context: Context,
    reducer: Reducer | None = None,
) -> QuantTable:
    """Observe float tensors over at most `limit` samples; memory does not grow with them.

    Raises:
        ModelError: E451 where a tensor was never seen, E452 where its values are not finite.
    """
    reducer = reducer or MinMax()
    fed = {value.name for value in proto.graph.input}
    inner = tuple(name for name in tensors if name not in fed)
    total = min(limit, len(samples))
    done = 0
    with context.runner.open(observing(proto, inner)) as session:
        for sample, done in zip(samples, range(1, total + 1), strict=False):
            for inputs, found in answers(session, sample, inner):
                for name in tensors:
                    reducer.observe(name, np.asarray(inputs[name] if name in fed else found[name]))
            context.events.progress("calibrate", done, total)
    ranges = reducer.ranges()
    for name in tensors:
        _check(name, ranges.get(name), done)
    return QuantTable(method=reducer.method, samples=done, ranges=ranges)


def observing(proto: onnx.ModelProto, tensors: Sequence[str]) -> Graph:
    """Return the graph with inner tensors among its outputs."""
    import onnx

    augmented = onnx.ModelProto()
    augmented.CopyFrom(proto)
    present = {value.name for value in proto.graph.output}
    known = {value.name: value for value in proto.graph.value_info}
    augmented.graph.output.extend(known[name] for name in tensors if name not in present)
    return Graph.from_proto(augmented)


def _check(name: str, seen: Range | None, samples: int) -> None:
    if seen is None:
        raise ModelError(
            "E451",
            f"calibration saw no values of `{name}`",
            why=f"{samples} samples were run",
            fix="give calibration samples that are not empty",
        )
    if not np.isfinite([seen.low, seen.high]).all():
        raise ModelError(
            "E452",
            f"`{name}` takes values that are not finite",
            why=f"calibration saw [{seen.low}, {seen.high}]",
            fix="check the calibration samples, or keep the node that makes it: keep = [...]",
        )
