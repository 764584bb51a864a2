"""What each step of a plan did: the model is exported, scored and counted after every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgepack.api.chain import Chain, Node
from edgepack.api.prove import Prover, counting, two_at_a_time
from edgepack.api.score import Scorer
from edgepack.api.trials import Chosen
from edgepack.base import Silent, StepRecord
from edgepack.errors import MeasurementError, ModelError
from edgepack.plan import TIDY, Plan
from edgepack.proof.suits import judge_effects
from edgepack.registry import load_pass
from edgepack.report import Effect, Footprint, Metric, Step
from edgepack.types import digest_of

if TYPE_CHECKING:
    from edgepack.artifact import Artifact
    from edgepack.spec.target import Target


@dataclass(frozen=True)
class _State:
    """The model at one place of the plan.

    Attributes:
        footprint: the instructions are filled in last.
        steps: what leads to its graph.
        graph: the model, exported; None where it could not be.
        metric: against the last state that was measured.
        why: what kept it from being measured.
        not_counted: why there are no instructions.
    """

    footprint: Footprint
    steps: tuple[StepRecord, ...] = ()
    graph: Node | None = None
    metric: Metric | None = None
    why: str = ""
    not_counted: str = ""

    @property
    def work(self) -> str:
        """Equal for models that execute the same, whatever their weights are."""
        facts = self.graph.facts if self.graph else {}
        return digest_of(self.footprint.multiply_adds, facts.get("nodes"), facts.get("operators"))


@dataclass(frozen=True)
class Contributions:
    """Measures the steps of one target's plan; nothing is trained or cut again for it."""

    plan: Plan
    target: Target
    chain: Chain
    scorer: Scorer
    prover: Prover

    def steps(self, chosen: Chosen, nodes: Sequence[Node]) -> tuple[Step, ...]:
        """Return the steps for the report, each with its effect where the plan compresses in torch.

        What only prepares, tidies or packs has none.

        Args:
            chosen: the steps that were followed, and what was counted of them.
            nodes: the value after each of them, the source first.
        """
        steps = [node.step for node in nodes[1:] if node.step]
        if not any(load_pass(record.name).takes == "model" for record in self._judged(chosen)):
            return tuple(steps)
        states = [self._state((), nodes[0], None)]
        places = [i for i, r in enumerate(chosen.steps) if r in self._judged(chosen)]
        for place in places:
            told = f"effect of {chosen.steps[place].name}"
            before = next(state for state in reversed(states) if state.graph)
            self.chain.events.progress(told, 0, 1)
            states.append(self._state(chosen.steps[: place + 1], nodes[place + 1], before))
            self.chain.events.progress(told, 1, 1)
        effects = judge_effects(_effects(self._counted(states, self._known(chosen, nodes))))
        for place, effect in zip(places, effects, strict=True):
            steps[place] = steps[place].model_copy(update={"effect": effect})
        return tuple(steps)

    def _judged(self, chosen: Chosen) -> list[StepRecord]:
        tidy = {"export", *TIDY}
        return [
            record
            for record in chosen.steps
            if record.name not in tidy and load_pass(record.name).gives != "artifact"
        ]

    def _state(self, done: tuple[StepRecord, ...], node: Node, before: _State | None) -> _State:
        """Export what a step gave, weigh it and score it."""
        weighed = Footprint.model_validate(
            {key: node.facts[key] for key in ("parameters", "multiply_adds")}
            if node.kind == "model"
            else before.footprint.model_dump(include={"parameters", "multiply_adds"})
            if before
            else {}
        )
        steps = (*done, *self.plan.baseline) if node.kind == "model" else done
        try:
            # The plan's own export tells the notes.
            graph = replace(self.chain, events=Silent()).run(steps)[-1]
            metric = self.scorer.score(graph, before.graph) if before else None
        except (ModelError, MeasurementError) as problem:
            if before is None:
                raise
            why = f"{problem.what}: {problem.why}" if problem.why else problem.what
            return _State(weighed, why=why)
        weighed = weighed.model_copy(update={"bytes": graph.facts["bytes"]})
        return _State(weighed, steps, graph, metric)

    def _known(self, chosen: Chosen, nodes: Sequence[Node]) -> dict[str, int]:
        """Return what was counted to choose a scheme, by the graph's key."""
        known = {nodes[-2].key: chosen.instructions}
        choice = self.plan.choice
        if choice is not None and (place := self.plan.steps.index(choice)) == len(nodes) - 3:
            known[nodes[place].key] = chosen.float_instructions  # the way that changes nothing
        return {key: count for key, count in known.items() if count is not None}

    def _counted(self, states: Sequence[_State], known: dict[str, int]) -> list[_State]:
        """Fill in the instructions; those of equal work are counted once."""
        channels = counting(self.target)
        measured = [state for state in states if state.graph]
        found: dict[str, tuple[int | None, str]] = {
            state.work: (known[state.graph.key], "")
            for state in measured
            if state.graph and state.graph.key in known
        }
        fresh: dict[str, _State] = {}
        for state in measured:
            if state.work not in found:
                fresh.setdefault(state.work, state)
        if channels:
            artifacts = [self._packed(state) for state in fresh.values()]
            counts = two_at_a_time(lambda artifact: self._count(artifact, channels[0]), artifacts)
            found |= dict(zip(fresh, counts, strict=True))
        made = []
        for state in states:
            none = state.why or "no channel of the target counts"
            count, why = found.get(state.work, (None, none)) if state.graph else (None, none)
            footprint = state.footprint.model_copy(update={"instructions": count})
            made.append(replace(state, footprint=footprint, not_counted=why))
        return made

    def _packed(self, state: _State) -> Artifact:
        pack = self.plan.settled[-1]
        artifact: Artifact = (
            replace(self.chain, events=Silent()).run((*state.steps, pack))[-1].load()
        )
        return artifact

    def _count(self, artifact: Artifact, on: str) -> tuple[int | None, str]:
        device = self.prover.count(artifact, on)
        return device.instructions, device.not_counted or device.why


def _effects(states: Sequence[_State]) -> list[Effect]:
    """Hold each state against the last one before it that was measured."""
    told: list[Effect] = []
    before = states[0]
    for after in states[1:]:
        told.append(
            Effect(
                before=before.footprint,
                after=after.footprint,
                metric=after.metric,
                not_counted=after.not_counted or before.not_counted,
                why=after.why,
            )
        )
        before = after if after.graph else before
    return told
