"""Scores a graph on labelled samples, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgepack.base import Events, Runner
from edgepack.errors import MeasurementError
from edgepack.graph.sequence import answers
from edgepack.types import Frozen, Sample, Samples, SessionSettings

if TYPE_CHECKING:
    from edgepack.graph import Graph
    from edgepack.types import Tensors


class Tally(Protocol):
    """A metric in the making."""

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Take in a sample, the outputs of each of its runs, and those of the reference."""

    def value(self) -> float:
        """Return the points of all samples so far."""


class Metric(Protocol):
    """What `evaluate` needs to know of a metric."""

    @property
    def name(self) -> str:
        """What it is called, for messages."""

    @property
    def compares(self) -> bool:
        """True where it scores against the model as it came in, and needs no labels."""

    @property
    def start(self) -> Callable[[], Tally]:
        """Begins a new tally."""


class Measured(Frozen):
    """Points of a metric, and the samples that they stand on."""

    value: float
    samples: int


def evaluate(
    graph: Graph | Path,
    samples: Samples,
    metric: Metric,
    runner: Runner,
    events: Events,
    settings: SessionSettings | None = None,
    *,
    reference: Graph | Path | None = None,
) -> Measured:
    """Score a graph.

    Args:
        graph: what to score.
        samples: what to score it on.
        metric: how to score it.
        runner: runs the graph.
        events: takes progress.
        settings: how the graph is loaded; the reference is loaded in the default way.
        reference: the model as it came in, for a metric that compares; left out, the graph is
            compared with itself.

    Raises:
        MeasurementError: E500 for made-up samples; and as the metric does.
        ModelError: when the graph does not run.
    """
    if samples.generated and not metric.compares:
        raise MeasurementError(
            "E500",
            f"{metric.name} cannot be measured on made-up inputs",
            fix='name labelled data: `evaluation = "..."` under [data]',
        )
    tally = metric.start()
    total = len(samples)
    with ExitStack() as stack:
        session = stack.enter_context(runner.open(graph, settings))
        other = None
        if metric.compares and reference is not None:
            other = stack.enter_context(runner.open(reference))
        for done, sample in enumerate(samples, 1):
            outputs = [found for _, found in answers(session, sample)]
            expected = [found for _, found in answers(other, sample)] if other else outputs
            tally.add(sample, outputs, expected)
            events.progress(metric.name, done, total)
    return Measured(value=tally.value(), samples=total)
