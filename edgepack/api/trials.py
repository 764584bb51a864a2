"""Makes a plan's choice: builds every way, measures it, and has the best safe one taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgepack.api.chain import Chain, Node
from edgepack.api.lock import Lock
from edgepack.api.prove import Prover, timed
from edgepack.api.score import Scorer
from edgepack.base import StepRecord
from edgepack.devices.open import open_channel
from edgepack.errors import HostError, MeasurementError, ModelError
from edgepack.plan import Choice, Plan
from edgepack.proof.budget import Limits, Measurements, judge, judge_answers
from edgepack.proof.choose import Contender, choose, slower
from edgepack.registry import load_pass
from edgepack.report import Candidate

if TYPE_CHECKING:
    from edgepack.spec.target import Target


@dataclass(frozen=True)
class Trial:
    """One way of a choice, tried.

    Attributes:
        label: what the table calls it.
        steps: the whole plan, this way taken.
        nodes: the value after each step; nothing where it was refused.
        refused: why it could not be built.
        found: what this machine measured.
        size: bytes of the model.
        wrong: the gate on its answers that it fails.
        exceeds: the limit on size or work that it exceeds.
        instructions: counted for one inference.
        failed: what went wrong on the emulated processor.
        vetoed: what a clock said against it.
    """

    label: str
    steps: tuple[StepRecord, ...]
    nodes: tuple[Node, ...] = ()
    refused: str = ""
    found: Measurements | None = None
    size: int = 0
    wrong: str = ""
    exceeds: str = ""
    instructions: int | None = None
    failed: str = ""
    vetoed: str = ""

    @property
    def stands(self) -> bool:
        """Whether nothing is known that speaks against it."""
        return not (self.refused or self.wrong or self.failed)

    def contender(self) -> Contender:
        """Return what the decision looks at."""
        return Contender(
            name=self.label,
            refused=self.refused,
            wrong=self.wrong or self.failed,
            vetoed=self.vetoed,
            exceeds=self.exceeds,
            bytes=self.size,
            instructions=self.instructions,
        )

    def candidate(self, taken: bool, reason: str) -> Candidate:
        """Return the row of the report."""
        found = self.found
        return Candidate(
            scheme=self.label,
            chosen=taken,
            reason=reason,
            bytes=self.size or None,
            metric=found.metric.after if found and found.metric else None,
            cosine=found.fidelity.cosine if found and found.fidelity else None,
            instructions=self.instructions,
        )


@dataclass(frozen=True)
class Chosen:
    """A choice made: the steps to follow, and what was measured of each way.

    Attributes:
        steps: the plan, the best way taken.
        candidates: one row a way.
        instructions, float_instructions: counted for what was taken and for the model as it is.
    """

    steps: tuple[StepRecord, ...]
    candidates: tuple[Candidate, ...] = ()
    instructions: int | None = None
    float_instructions: int | None = None


@dataclass(frozen=True)
class Trials:
    """Tries the ways of one target's plan."""

    plan: Plan
    target: Target
    limits: Limits
    chain: Chain
    scorer: Scorer
    prover: Prover
    lock: Lock
    on: tuple[str, ...] = ()

    def chosen(self) -> Chosen:
        """Return the steps to follow; a plan without a choice is followed as it is."""
        place = self.plan.choice
        if place is None:
            return Chosen(tuple(s for s in self.plan.steps if isinstance(s, StepRecord)))
        choice = self.plan.steps[place]
        assert isinstance(choice, Choice)
        if choice.asked:
            return self._asked(choice.ways)
        *open_, plain = choice.ways
        trials = [*(self._try(way) for way in open_), self._try(plain, needed=True)]
        trials = self._measured(trials)
        decision = choose([t.contender() for t in trials], self._most_slowdown)
        if more := self._narrower(trials, place):
            trials = [*trials[:-1], *self._counted(more, trials[-1]), trials[-1]]
            decision = choose([t.contender() for t in trials], self._most_slowdown)
        while failed := self._unproven(trials[decision.taken]):
            trials[decision.taken] = replace(trials[decision.taken], failed=failed)
            decision = choose([t.contender() for t in trials], self._most_slowdown)
        taken = trials[decision.taken]
        rows = zip(trials, decision.reasons, strict=True)
        return Chosen(
            taken.steps,
            tuple(trial.candidate(trial is taken, reason) for trial, reason in rows),
            taken.instructions,
            trials[-1].instructions,
        )

    @property
    def _most_slowdown(self) -> float:
        most = self.limits.max_slowdown
        return 0.0 if most is None else most

    def _unproven(self, trial: Trial) -> str:
        """Prove what was taken where it must hold; say where it fails, for another to be taken.

        The model as it is has no other in its place, and fails its gate.
        """
        if trial.steps[self.plan.choice or 0] == self._ways[-1]:
            return ""
        artifact = trial.nodes[-1].load()
        for on in self.on or self.target.verify:
            device = self.prover.prove(artifact, on, asked=bool(self.on))
            if device.verdict == "fail":
                return f"on {on}: {device.why}"
        return ""

    @property
    def _ways(self) -> tuple[StepRecord, ...]:
        place = self.plan.choice
        step = self.plan.steps[place] if place is not None else None
        return step.ways if isinstance(step, Choice) else ()

    def _asked(self, ways: Sequence[StepRecord]) -> Chosen:
        """Take the first way, whatever it measures; the last is counted beside it."""
        first = self._try(ways[0], needed=True)
        trials = self._counted([first, self._try(ways[-1], needed=True)])
        told = slower(trials[0].contender(), trials[1].contender(), self._most_slowdown)
        why = f"the recipe asks for it; {told}" if told else "the recipe asks for it"
        return Chosen(
            first.steps,
            (trials[0].candidate(True, why), trials[1].candidate(False, "to compare with")),
            trials[0].instructions,
            trials[1].instructions,
        )

    def _try(self, way: StepRecord, *, needed: bool = False) -> Trial:
        """Build one way and measure its answers; what is refused is a trial, too."""
        one = load_pass(way.name).model_validate(way.options)
        trial = Trial(one.label, self.plan.with_way(way))
        self.chain.events.progress(f"try {one.label}", 0, 1)
        try:
            nodes = tuple(self.chain.run(trial.steps))
            if not needed and (idle := _idle(nodes[trial.steps.index(way) + 1])):
                return replace(trial, refused=idle)
            artifact = nodes[-1].load()
            found = Measurements(
                bytes=artifact.size,
                tolerance=artifact.manifest.tolerance,
                metric=self.scorer.score(nodes[-2]),
                fidelity=self.scorer.fidelity(nodes[-2]),
            )
        except (ModelError, MeasurementError) as problem:
            if needed:
                raise
            why = f"{problem.what}: {problem.why}" if problem.why else problem.what
            return replace(trial, refused=why)
        finally:
            self.chain.events.progress(f"try {one.label}", 1, 1)
        failed = [g for g in judge_answers(self.limits, found) if g.verdict in {"fail", "invalid"}]
        wrong = "; ".join(f"{g.name} {_short(g.value)}, limit {_short(g.limit)}" for g in failed)
        return replace(trial, nodes=nodes, found=found, size=artifact.model_size, wrong=wrong)

    def _measured(self, trials: list[Trial]) -> list[Trial]:
        """Count the trials; the last, which is the model as it is, comes first."""
        plain = self._counted(trials[-1:])
        return [*self._counted(trials[:-1], plain[0]), *plain]

    def _counted(self, trials: Sequence[Trial], plain: Trial | None = None) -> list[Trial]:
        """Count instructions of what still stands, two at a time: a count does not mind company."""
        workers = min(2, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            counted = list(pool.map(self._count, trials))
        if plain is None:
            return counted
        return [self._timed(trial, plain) for trial in counted]

    def _count(self, trial: Trial) -> Trial:
        if not trial.nodes or trial.wrong:
            return trial
        for on in self.target.verify:
            channel = open_channel(on, runtime=self.target.runtime.version)
            counts = channel.counts
            channel.close()
            if not counts:
                continue
            device = self.prover.count(trial.nodes[-1].load(), on)
            if device.verdict == "fail":
                return replace(trial, failed=f"on {on}: {device.why}")
            if device.instructions is not None:
                limits = self.limits.model_copy(update={"max_slowdown": None, "max_drop": None})
                assert trial.found is not None
                found = trial.found.model_copy(update={"devices": (device,)})
                gates = [g for g in judge(limits, found) if g.name in {"size", "instructions"}]
                over = [g for g in gates if g.verdict == "fail"]
                exceeds = "; ".join(f"{g.name} {_short(g.value)} exceeds {g.limit:,}" for g in over)
                return replace(trial, instructions=device.instructions, exceeds=exceeds)
        return trial

    def _timed(self, trial: Trial, plain: Trial) -> Trial:
        """Let the clock of this machine veto what cannot be counted, where it is a target itself.

        The word is kept in the lock: whoever builds again obeys it, whatever the clock says then.
        """
        uncounted = trial.instructions is None or plain.instructions is None
        if not (trial.nodes and trial.stands and uncounted and "local" in self.target.verify):
            return trial
        key = f"{self.plan.target} {trial.nodes[-1].load().digest}"
        ratio = self.lock.get(key)
        if ratio is None:
            pair = [t.nodes[-1].load() for t in (trial, plain)]
            ratio = timed(self.prover, pair[0], pair[1])
            if ratio is None:
                return trial
            self._keep(key, ratio)
        if ratio <= VETO:
            return trial
        return replace(trial, vetoed=f"took {ratio:.2f} times as long as `{plain.label}` here")

    def _keep(self, key: str, ratio: float) -> None:
        try:
            self.lock.put(key, ratio)
        except HostError as problem:
            self.chain.events.note(f"{problem.what}: the next build will ask the clock again")

    def _narrower(self, trials: Sequence[Trial], place: int) -> list[Trial]:
        """Try lesser forms of what was built and did not gain."""
        plain = trials[-1].contender()
        lost = [
            t
            for t in trials[:-1]
            if t.nodes
            and (not t.stands or t.vetoed or slower(t.contender(), plain, self._most_slowdown))
        ]
        return [self._try(way) for trial in lost for way in _lesser(trial, place)]


VETO = 1.1
"""Times as long as the model as it is, in each of three interleaved rounds."""


def _idle(node: Node) -> str:
    """Say why a step left its value as it was; nothing where it did not."""
    step = node.step
    if step is None or step.before != step.after:
        return ""
    return "; ".join(step.notes) or "it changes nothing"


def _lesser(trial: Trial, place: int) -> Iterable[StepRecord]:
    step = trial.steps[place]
    one = load_pass(step.name).model_validate(step.options)
    facts = trial.nodes[place].facts  # the source comes before the first step
    for way in one.narrower(facts):
        options = way.model_dump(mode="json")
        yield StepRecord(name=step.name, version=step.version, options=options)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
