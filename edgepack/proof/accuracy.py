"""Scores a graph on labelled samples, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgepack.base import Events, Interval, Rows, Runner, Tally
from edgepack.errors import MeasurementError
from edgepack.graph.batches import Batches
from edgepack.types import Frozen, Samples, SessionSettings

if TYPE_CHECKING:
    from edgepack.graph import Graph


MOST = 100_000
"""Rows that are kept of one scoring; of more there is no interval of the drop."""


class Metric(Protocol):
    """What is needed to know of a metric."""

    @property
    def name(self) -> str:
        """What it is called, for messages."""

    @property
    def compares(self) -> bool:
        """True where it scores against the model as it came in, and needs no labels."""

    @property
    def start(self) -> Callable[[], Tally]:
        """Begins a new tally."""

    def drop_interval(self, before: Rows, after: Rows, samples: int) -> Interval | None:
        """Return the 95 % interval of the drop, from the rows of the same samples."""


class Measured(Frozen):
    """A value of a metric, and what it stands on.

    Attributes:
        value: of all samples.
        samples: how many they are.
        items: how many answers they hold: frames or tokens, else one a sample.
        interval: its 95 % confidence interval, where the metric has one.
        lower_is_better, relative: how it is compared, as `report.Metric`.
        rows: what each sample was reduced to, for `paired`; empty where they are too many.
    """

    value: float
    samples: int
    items: int = 0
    interval: Interval | None = None
    lower_is_better: bool = False
    relative: bool = False
    rows: Rows = ()


def paired(metric: Metric, before: Measured, after: Measured) -> Interval | None:
    """Return the 95 % interval of the drop between two scorings of the same samples.

    None where the metric has none, or either kept no rows.
    """
    if before.samples != after.samples or not (before.rows and after.rows):
        return None
    return metric.drop_interval(before.rows, after.rows, after.samples)


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
        one, two = tee(samples)
        given = Batches.of(session, graph).answered(one)
        wanted = Batches.of(other, reference).answered(two) if other and reference else None
        for done, (sample, runs) in enumerate(given, 1):
            outputs = [found for _, found in runs]
            expected = [found for _, found in next(wanted)[1]] if wanted else outputs
            tally.add(sample, outputs, expected)
            events.progress(metric.name, done, total)
    value, rows = tally.value(), tally.rows()
    return Measured(
        value=value,
        samples=total,
        items=max(len(rows), total),
        interval=tally.interval(),
        lower_is_better=tally.lower_is_better,
        relative=tally.relative,
        rows=rows if len(rows) <= MOST else (),
    )
