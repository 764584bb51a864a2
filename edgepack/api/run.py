"""Runs prepared work: each target's chain, its measurements, its proof, its gates."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack import __version__, publish
from edgepack.api.chain import Chain, Node, maybe_torch, versions
from edgepack.api.contribute import Contributions
from edgepack.api.crew import Crew
from edgepack.api.inputs import open_splits
from edgepack.api.lock import NAME as LOCK
from edgepack.api.lock import Lock
from edgepack.api.prove import Prover, environment
from edgepack.api.score import Scorer
from edgepack.api.trials import Trials
from edgepack.base import Events, Silent
from edgepack.cache import Cache
from edgepack.data import check_splits, resolve
from edgepack.devices.open import open_channel
from edgepack.plan import Plan
from edgepack.proof.budget import Limits, Measurements, judge
from edgepack.proof.explain import explain_fidelity
from edgepack.report import Gate, Report, TargetReport, worst
from edgepack.types import Samples, Split, digest_of

if TYPE_CHECKING:
    from edgepack.api import Work

COPIES = 4
"""Models of the size of the one that comes in for which a build must find room on disk."""


ANSWERS = {"max_drop", "cosine", "label_flips"}
"""Gates on what the model answers."""


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
            runtime = target.runtime
            open_channel(name, runtime=runtime.version, package=runtime.package).close()
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
    chain = Chain(work.source, work.recipe.seed, data, runner, events, cache, facts, work.models)
    crew = Crew.of()
    if crew.size > 1:
        for plan in work.plans:
            replace(chain, crew=crew).run(plan.training)
        if crew.follows:
            return _nothing(work)
    warnings = _warnings(work, data, cache, events)
    lock = Lock((work.recipe.folder if work.recipe.path else out) / LOCK)
    build = _Build(work, chain, Prover(cache, events, offline), lock, out, tuple(on), force)
    targets = tuple(build.target(plan) for plan in work.plans)
    report = Report.model_validate(
        {
            "edgepack": __version__,
            "name": work.plans[0].name,
            "verdict": worst([target.verdict for target in targets]),
            "targets": targets,
            "warnings": warnings,
            "environment": environment(),
        }
    )
    with publish.file(out / "report.json") as stage:
        stage.write_text(report.to_json() + "\n")
    return report


def _nothing(work: Work) -> Report:
    """Return what a process reports that only trained along."""
    return Report.model_validate(
        {"edgepack": __version__, "name": work.plans[0].name, "verdict": "pass", "targets": ()}
    )


@dataclass(frozen=True)
class _Build:
    """One command's work, target by target."""

    work: Work
    chain: Chain
    prover: Prover
    lock: Lock
    out: Path
    on: tuple[str, ...]
    force: bool

    def target(self, plan: Plan) -> TargetReport:
        """Build, measure, prove and judge one target."""
        target = self.work.targets[plan.target]
        limits = Limits.model_validate(self.work.recipe.gates_for(plan.target, target))
        baseline = self.chain.run(plan.baseline)[-1]
        publish.check_room((self.out, self.chain.cache.root), COPIES * baseline.facts["bytes"])
        scorer = self._scorer(baseline)
        trials = Trials(plan, target, limits, self.chain, scorer, self.prover, self.lock, self.on)
        chosen = trials.chosen()
        nodes = self.chain.run(chosen.steps)
        graph, artifact = nodes[-2], nodes[-1].load()
        metric = scorer.score(graph)
        contributions = Contributions(plan, target, self.chain, scorer, self.prover)
        devices = tuple(
            self.prover.prove(artifact, on, asked=bool(self.on)) for on in self.on or target.verify
        )
        found = Measurements(
            bytes=artifact.size,
            tolerance=artifact.manifest.tolerance,
            metric=metric,
            fidelity=scorer.fidelity(graph),
            devices=devices,
            instructions=chosen.instructions,
            float_instructions=chosen.float_instructions,
        )
        gates = self._explained(judge(limits, found), baseline, graph)
        verdict = worst([gate.verdict for gate in gates])
        path = self.out / f"{plan.name}-{plan.target}.edgepack"
        kept = verdict != "fail" or self.force
        if kept:
            with publish.file(path) as stage:
                shutil.copyfile(artifact.path, stage)
        else:
            self.chain.events.note(f"{path.name} is not written: a gate failed (see --force)")
        return TargetReport(
            target=plan.target,
            verdict=verdict,
            artifact=str(path) if kept else "",
            sha256=artifact.digest,
            bytes=artifact.size,
            model_bytes=artifact.model_size,
            float_bytes=baseline.facts["bytes"],
            scheme=artifact.manifest.scheme,
            steps=contributions.steps(chosen, nodes),
            candidates=chosen.candidates,
            sensitivity=chosen.sensitivity,
            metric=metric,
            gates=gates,
            devices=devices,
        )

    def _explained(self, gates: tuple[Gate, ...], baseline: Node, graph: Node) -> tuple[Gate, ...]:
        """Add to gates that failed on the answers which layer leaves the float model."""
        failed = {gate.name for gate in gates if gate.verdict == "fail"} & ANSWERS
        if not failed:
            return gates
        chain = self.chain
        where = explain_fidelity(
            baseline.load(), graph.load(), chain.data["evaluation"], chain.runner, chain.events
        )
        return tuple(
            gate.model_copy(update={"why": f"{gate.why}; {where}"})
            if where and gate.name in failed
            else gate
            for gate in gates
        )

    def _scorer(self, baseline: Node) -> Scorer:
        """Say how models are scored, or why they are not."""
        data, recipe = self.chain.data["evaluation"], self.work.recipe
        named = recipe.data.metric or self.work.source.metric
        why = "" if named else "no metric is named"
        if named and (data.generated or "evaluation" not in _given(self.work)):
            why = "there is no evaluation data"
        metric = resolve(named, recipe.folder) if named else None
        return Scorer(self.chain, baseline, metric, why)


def _warnings(
    work: Work, data: Mapping[Split, Samples], cache: Cache, events: Events
) -> tuple[str, ...]:
    """Look the data through once, and say again what was found then."""
    metric = work.recipe.data.metric or work.source.metric
    digests = {split: samples.digest for split, samples in data.items()}
    key = digest_of("warnings", versions(), digests, metric)
    with maybe_torch():
        value, cached = cache.fact(
            key, lambda: {"found": check_splits(data, metric or None, events)}
        )
    for sentence in value["found"] if cached else ():
        events.note(sentence)
    return tuple(value["found"])


def _given(work: Work) -> set[str]:
    """Name the splits that the user or the source gave."""
    return {s for s in ("calibration", "evaluation") if getattr(work.recipe.data, s)} | set(
        work.source.data
    )
