"""Calibration: one sweep of samples through the graph, reduced as it goes to a frozen table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Context
from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.sequence import answers
from edgepack.quantize.ranges.reduce import Reducer
from edgepack.types import QuantTable, Range, Samples

if TYPE_CHECKING:
    import onnx


def calibrate(
    proto: onnx.ModelProto,
    tensors: Sequence[str],
    samples: Samples,
    limit: int,
    context: Context,
    reducer: Reducer,
) -> QuantTable:
    """Observe float tensors over at most `limit` samples; memory does not grow with them.

    Raises:
        ModelError: E451 where a tensor was never seen, E452 where its values are not finite.
    """
    fed = {value.name for value in proto.graph.input}
    inner = tuple(name for name in tensors if name not in fed)
    total = min(limit, len(samples))
    done = 0
    with context.runner.open(observing(proto, inner)) as session:
        for done, sample in enumerate(islice(samples, total), 1):
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
