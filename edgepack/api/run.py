"""Runs prepared work: each target's chain, its measurements, its proof, its gates."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack import __version__, publish
from edgepack.api.chain import Chain, Node, versions
from edgepack.api.inputs import open_splits
from edgepack.api.prove import Prover, environment
from edgepack.base import Events, Silent
from edgepack.cache import Cache
from edgepack.data import Metric as DataMetric
from edgepack.data import resolve
from edgepack.devices.open import open_channel
from edgepack.plan import Plan
from edgepack.proof.accuracy import Measured, evaluate
from edgepack.proof.budget import Limits, Measurements, judge
from edgepack.proof.fidelity import Fidelity, compare
from edgepack.report import Candidate, Metric, Report, TargetReport, worst
from edgepack.types import EXACT_INT8, Samples, SessionSettings, digest_of

if TYPE_CHECKING:
    from edgepack.api import Work

SETTINGS = SessionSettings(entries=EXACT_INT8)
"""How this machine loads a graph to score it: exact, so that the score is the target's."""


def execute(
    work: Work,
    *,
    out: Path = Path("dist"),
    on: Sequence[str] = (),
    force: bool = False,
    fresh: bool = False,
    offline: bool = False,
    events: Events | None = None,
) -> Report:
    """Build every target of prepared work, publish what passed, and report.

    Args:
        work: from `prepare`.
        out: folder that receives ``NAME-TARGET.edgepack`` and ``report.json``.
        on: channels to prove on; each target's own where empty.
        force: publish an artifact even where a gate failed.
        fresh: answer nothing from the cache.
        offline: never use the network.
        events: takes progress.

    Raises:
        EdgepackError: for whatever keeps a target from being built; a failed gate is no error.
    """
    from edgepack.graph.examples import workable_sizes
    from edgepack.graph.runner import ChildRunner

    events = events or Silent()
    publish.check_folder(out)
    for target in work.targets.values():
        for name in on or target.verify:  # a wrong name is known now, not after the work
            open_channel(name, runtime=target.runtime.version).close()
    cache = Cache(publish.cache_root(), fresh=fresh, warn=events.note)
    runner = ChildRunner()

    def baseline() -> Any:
        return chain.run(work.plans[0].baseline)[-1].load()

    data = open_splits(
        work, lambda: chain.start().load().inputs, lambda: workable_sizes(baseline(), runner)
    )
    facts = {
        "edgepack": __version__,
        "source": work.source.digest,
        "data": {split: samples.digest for split, samples in data.items()},
    }
    chain = Chain(work.source, work.recipe.seed, data, runner, events, cache, facts)
    build = _Build(work, chain, Prover(cache, events, offline), out, tuple(on), force)
    targets = tuple(build.target(plan) for plan in work.plans)
    report = Report.model_validate(
        {
            "edgepack": __version__,
            "name": work.plans[0].name,
            "verdict": worst([target.verdict for target in targets]),
            "targets": targets,
            "environment": environment(),
        }
    )
    with publish.file(out / "report.json") as stage:
        stage.write_text(report.to_json() + "\n")
    return report


class _Build:
    """One command's work, target by target."""

    def __init__(
        self, work: Work, chain: Chain, prover: Prover, out: Path, on: tuple[str, ...], force: bool
    ) -> None:
        self.work = work
        self.chain = chain
        self.prover = prover
        self.out = out
        self.on = on
        self.force = force

    def target(self, plan: Plan) -> TargetReport:
        """Build, measure, prove and judge one target."""
        target = self.work.targets[plan.target]
        baseline = self.chain.run(plan.baseline)[-1]
        nodes = self.chain.run(plan.steps)
        graph, artifact = nodes[-2], nodes[-1].load()
        metric = self._metric(baseline, graph)
        devices = tuple(
            self.prover.prove(artifact, on, asked=bool(self.on)) for on in self.on or target.verify
        )
        limits = Limits.model_validate(self.work.recipe.gates_for(plan.target, target))
        found = Measurements(
            bytes=artifact.size,
            tolerance=artifact.manifest.tolerance,
            metric=metric,
            fidelity=self._fidelity(baseline, graph),
            devices=devices,
        )
        gates = judge(limits, found)
        verdict = worst([gate.verdict for gate in gates])
        path = self.out / f"{plan.name}-{plan.target}.edgepack"
        kept = verdict != "fail" or self.force
        if kept:
            with publish.file(path) as stage:
                shutil.copyfile(artifact.path, stage)
        else:
            self.chain.events.note(f"{path.name} is not written: a gate failed (see --force)")
        steps = tuple(node.step for node in nodes[1:] if node.step)
        return TargetReport(
            target=plan.target,
            verdict=verdict,
            artifact=str(path) if kept else "",
            sha256=artifact.digest,
            bytes=artifact.size,
            float_bytes=baseline.facts["bytes"],
            scheme=artifact.manifest.scheme,
            steps=steps,
            candidates=tuple(
                Candidate.model_validate(candidate)
                for step in steps
                for candidate in step.decision.get("candidates", ())
            ),
            metric=metric,
            gates=gates,
            devices=devices,
        )

    def _metric(self, baseline: Node, graph: Node) -> Metric:
        """Score the model before and after on the evaluation data."""
        data, recipe = self.chain.data["evaluation"], self.work.recipe
        named = recipe.data.metric or self.work.source.metric
        why = ""
        if not named:
            why = "no metric is named"
        elif data.generated or "evaluation" not in _given(self.work):
            why = "there is no evaluation data"
        if why:
            return Metric(name=named or "", before=None, after=None, why=why)
        metric = resolve(named, recipe.folder)
        before = self._score(metric, data, baseline, baseline)
        after = self._score(metric, data, graph, baseline)
        return Metric(
            name=metric.name, before=before.value, after=after.value, samples=after.samples
        )

    def _score(self, metric: DataMetric, data: Samples, graph: Node, baseline: Node) -> Measured:
        key = digest_of("score", versions(), graph.key, data.digest, metric.digest, baseline.key)
        value, _ = self.chain.cache.fact(
            key,
            lambda: evaluate(
                graph.load(),
                data,
                metric,
                self.chain.runner,
                self.chain.events,
                SETTINGS,
                reference=baseline.load(),
            ).model_dump(),
        )
        return Measured.model_validate(value)

    def _fidelity(self, baseline: Node, graph: Node) -> Fidelity:
        data = self.chain.data["evaluation"]
        key = digest_of("fidelity", versions(), graph.key, baseline.key, data.digest)
        value, _ = self.chain.cache.fact(
            key,
            lambda: compare(
                baseline.load(),
                graph.load(),
                data,
                self.chain.runner,
                self.chain.events,
                SETTINGS,
            ).model_dump(),
        )
        return Fidelity.model_validate(value)


def _given(work: Work) -> set[str]:
    """Name the splits that the user or the source gave."""
    return {s for s in ("calibration", "evaluation") if getattr(work.recipe.data, s)} | set(
        work.source.data
    )
