"""Makes a plan's choice: builds every way, measures it, and has the best safe one taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgepack.api.chain import Chain
from edgepack.api.ladder import Ladder
from edgepack.api.lock import Lock
from edgepack.api.prove import Prover, counting, timed, two_at_a_time
from edgepack.api.score import Scorer
from edgepack.api.trial import Trial
from edgepack.base import StepRecord
from edgepack.errors import HostError, MeasurementError, ModelError
from edgepack.plan import Choice, Plan
from edgepack.proof.budget import Limits, Measurements, judge_answers, judge_budget
from edgepack.proof.choose import Decision, choose, slower
from edgepack.registry import load_pass
from edgepack.report import Candidate, Sensitivity

if TYPE_CHECKING:
    from edgepack.spec.target import Target


@dataclass(frozen=True)
class Chosen:
    """A choice made: the steps to follow, and what was measured of each way.

    Attributes:
        steps: the plan, the best way taken.
        candidates: one row a way.
        sensitivity: of layers, where some had to be left float.
        instructions, float_instructions: counted for what was taken and for the model as it is.
    """

    steps: tuple[StepRecord, ...]
    candidates: tuple[Candidate, ...] = ()
    instructions: int | None = None
    float_instructions: int | None = None
    sensitivity: tuple[Sensitivity, ...] = ()


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
        choice = self.plan.choice
        if choice is None:
            return Chosen(self.plan.settled)
        if choice.asked:
            return self._asked(choice)
        *ways, last = choice.ways
        plain = self._counted([self._try(last, needed=True)])[0]
        trials = [*self._counted([self._try(way) for way in ways], plain), plain]
        if more := self._narrower(trials):
            trials[-1:] = [*self._counted(more, plain), plain]
        rungs, layers = self._repaired(trials)
        trials[-1:] = [*self._counted(rungs, plain), plain]
        decision = self._decided(trials)
        while trials[decision.taken] is not plain and (why := self._fails(trials[decision.taken])):
            trials[decision.taken] = replace(trials[decision.taken], failed=why)
            decision = self._decided(trials)
        taken = trials[decision.taken]
        rows = zip(trials, decision.reasons, strict=True)
        return Chosen(
            taken.steps,
            tuple(trial.candidate(trial is taken, reason) for trial, reason in rows),
            taken.instructions,
            plain.instructions,
            layers,
        )

    def _decided(self, trials: Sequence[Trial]) -> Decision:
        return choose([trial.contender() for trial in trials], self._most_slowdown)

    @property
    def _most_slowdown(self) -> float:
        most = self.limits.max_slowdown
        return 0.0 if most is None else most

    def _fails(self, trial: Trial) -> str:
        """Prove what would be taken where it must hold; say where it fails."""
        for on in self.on or self.target.verify:
            device = self.prover.prove(trial.artifact, on, asked=bool(self.on))
            if device.verdict == "fail":
                return f"on {on}: {device.why}"
        return ""

    def _asked(self, choice: Choice) -> Chosen:
        """Take the first way, whatever it measures; the last is counted beside it."""
        ways = (choice.ways[0], choice.ways[-1])
        asked, plain = (self._try(way, needed=True) for way in ways)
        rungs, layers = self._repaired([asked, plain])
        taken = next((rung for rung in rungs if rung.stands), asked)
        taken, plain = self._counted([taken, plain])
        told = slower(taken.contender(), plain.contender(), self._most_slowdown)
        why = "the recipe asks for it" if taken.label == asked.label else "it repairs what is asked"
        tried = [trial for trial in (asked, *rungs) if trial.label != taken.label]
        return Chosen(
            taken.steps,
            (
                *(trial.candidate(False, trial.against) for trial in tried),
                taken.candidate(True, f"{why}; {told}" if told else why),
                plain.candidate(False, "to compare with"),
            ),
            taken.instructions,
            plain.instructions,
            layers,
        )

    def _repaired(self, trials: Sequence[Trial]) -> tuple[list[Trial], tuple[Sensitivity, ...]]:
        """Climb the ladder of the first way whose answers are wrong, if no way like it is right."""
        mendable = [trial for trial in trials[:-1] if trial.mendable]
        wrong = [trial for trial in mendable if trial.wrong]
        if not wrong or any(trial.stands for trial in mendable):
            return [], ()
        ladder = Ladder(self.chain, self.scorer, self._try)
        return ladder.climb(wrong[0])

    def _try(
        self,
        way: StepRecord,
        label: str = "",
        before: tuple[StepRecord, ...] = (),
        *,
        needed: bool = False,
    ) -> Trial:
        """Build one way and measure its answers; what is refused is a trial, too."""
        one = load_pass(way.name).model_validate(way.options)
        steps = self.plan.with_way(way, before)
        trial = Trial(label or one.label, way, steps, before)
        self.chain.events.progress(f"try {trial.label}", 0, 1)
        try:
            trial = replace(trial, nodes=tuple(self.chain.run(trial.steps)))
            if trial.idle and not needed:
                return replace(trial, nodes=(), refused=trial.idle)
            artifact, graph = trial.artifact, trial.nodes[-2]
            found = Measurements(
                bytes=artifact.size,
                tolerance=artifact.manifest.tolerance,
                metric=self.scorer.score(graph),
                fidelity=self.scorer.fidelity(graph),
            )
        except (ModelError, MeasurementError) as problem:
            if needed:
                raise
            why = f"{problem.what}: {problem.why}" if problem.why else problem.what
            return replace(trial, nodes=(), refused=why)
        finally:
            self.chain.events.progress(f"try {trial.label}", 1, 1)
        failed = [g for g in judge_answers(self.limits, found) if g.verdict in {"fail", "invalid"}]
        wrong = "; ".join(f"{g.name} {_short(g.value)}, limit {_short(g.limit)}" for g in failed)
        return replace(trial, found=found, size=artifact.model_size, wrong=wrong)

    def _counted(self, trials: Sequence[Trial], plain: Trial | None = None) -> list[Trial]:
        """Count instructions of what still stands."""
        counted = two_at_a_time(self._count, trials)
        if plain is None:
            return counted
        return [self._timed(trial, plain) for trial in counted]

    def _count(self, trial: Trial) -> Trial:
        """Count a trial on the first channel that can, and hold it against the limits on budget."""
        if not trial.stands:
            return trial
        assert trial.found is not None
        found = trial.found
        for on in counting(self.target):
            device = self.prover.count(trial.artifact, on)
            if device.verdict == "fail":
                return replace(trial, failed=f"on {on}: {device.why}")
            if device.instructions is not None:
                found = found.model_copy(update={"devices": (device,)})
                trial = replace(trial, instructions=device.instructions)
                break
        over = [g for g in judge_budget(self.limits, found) if g.verdict == "fail"]
        exceeds = "; ".join(f"{g.name} {_short(g.value)} exceeds {g.limit:,}" for g in over)
        return replace(trial, exceeds=exceeds)

    def _timed(self, trial: Trial, plain: Trial) -> Trial:
        """Let the clock of this machine veto what cannot be counted, where it is a target itself.

        The word is kept in the lock: whoever builds again obeys it, whatever the clock says then.
        """
        uncounted = trial.instructions is None or plain.instructions is None
        if not (trial.stands and uncounted and "local" in self.target.verify):
            return trial
        key = f"{self.plan.target} {trial.artifact.digest}"
        ratio = self.lock.get(key)
        if ratio is None:
            ratio = timed(self.prover, trial.artifact, plain.artifact)
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

    def _narrower(self, trials: Sequence[Trial]) -> list[Trial]:
        """Try lesser forms of what was built and did not gain."""
        plain = trials[-1].contender()
        lost = [
            t
            for t in trials[:-1]
            if t.nodes
            and (not t.stands or t.vetoed or slower(t.contender(), plain, self._most_slowdown))
        ]
        return [self._try(way) for trial in lost for way in trial.narrower()]


VETO = 1.1
"""Times as long as the model as it is, in each of three interleaved rounds."""


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
