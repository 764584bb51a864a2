"""Scores a node of the chain against the model as it came in, through the cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgepack.api.chain import Chain, Node, versions
from edgepack.data import Metric as DataMetric
from edgepack.proof.accuracy import Measured, evaluate, paired
from edgepack.proof.fidelity import Fidelity, compare
from edgepack.report import Metric
from edgepack.types import EXACT_INT8, SessionSettings, digest_of

SETTINGS = SessionSettings(entries=EXACT_INT8)
"""How this machine loads a graph to score it: exact, so that the score is the target's."""


@dataclass(frozen=True)
class Scorer:
    """Measures graphs on the evaluation data.

    Attributes:
        chain: holds the data, the runner and the cache.
        baseline: the model as it came in, as a float graph.
        metric: how to score; None where nothing says.
        why: what keeps the metric from being measured.
    """

    chain: Chain
    baseline: Node
    metric: DataMetric | None
    why: str

    @cached_property
    def _before(self) -> Measured:
        return self._score(self.baseline)

    def score(self, graph: Node, against: Node | None = None) -> Metric:
        """Score a graph on the evaluation data, against another one or the model as it came in."""
        if self.metric is None or self.why:
            name = self.metric.name if self.metric else ""
            return Metric(name=name, before=None, after=None, why=self.why)
        before = self._score(against) if against else self._before
        after = self._score(graph)
        return Metric(
            name=self.metric.name,
            before=before.value,
            after=after.value,
            before_interval=before.interval,
            after_interval=after.interval,
            drop_interval=paired(self.metric, before, after),
            lower_is_better=after.lower_is_better,
            relative=after.relative,
            samples=after.samples,
            items=after.items,
        )

    def fidelity(self, graph: Node) -> Fidelity:
        """Hold the graph's answers against the baseline's, on the same samples."""
        chain = self.chain
        data = chain.data["evaluation"]
        key = digest_of("fidelity", versions(), graph.key, self.baseline.key, data.digest)
        value, _ = chain.cache.fact(
            key,
            lambda: compare(
                self.baseline.load(), graph.load(), data, chain.runner, chain.events, SETTINGS
            ).model_dump(),
        )
        return Fidelity.model_validate(value)

    def _score(self, graph: Node) -> Measured:
        chain, metric = self.chain, self.metric
        assert metric is not None
        data = chain.data["evaluation"]
        key = digest_of(
            "score", versions(), graph.key, data.digest, metric.digest, self.baseline.key
        )
        value, _ = chain.cache.fact(
            key,
            lambda: evaluate(
                graph.load(),
                data,
                metric,
                chain.runner,
                chain.events,
                SETTINGS,
                reference=self.baseline.load(),
            ).model_dump(),
        )
        return Measured.model_validate(value)
