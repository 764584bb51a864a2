"""The repair ladder: where a way's answers are wrong, what brings them back, the cheapest first.

Each rung stands on the best one below it, so that two repairs which help only together are found.
The last rungs leave layers as they were, the most sensitive first. Only repeatable facts decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgepack.api.score import Scorer
from edgepack.api.trial import Trial
from edgepack.base import Pass, Repair, StepRecord
from edgepack.errors import EdgepackError
from edgepack.registry import load_pass
from edgepack.report import Sensitivity

if TYPE_CHECKING:
    from edgepack.api.chain import Chain, Node

Try = Callable[[StepRecord, str, tuple[StepRecord, ...]], Trial]
WEIGHTED = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
BETTER = 1e-6
"""Cosine by which a rung must be better than the one that it stands on, to be stood on."""
MOST = 64
"""Layers whose sensitivity is measured, those with the most weights; each is a graph of its own."""
SAMPLES = 16
"""Calibration samples for a graph in which one layer alone is quantised."""


@dataclass(frozen=True)
class Ladder:
    """Climbs for one target.

    Attributes:
        chain: makes graphs.
        scorer: holds them against the model as it came in.
        attempt: tries a way under a label, after other steps.
    """

    chain: Chain
    scorer: Scorer
    attempt: Try

    def climb(self, start: Trial) -> tuple[list[Trial], tuple[Sensitivity, ...]]:
        """Try rung after rung until the answers are right; return all that were tried.

        Layers are told of in the order of their sensitivity, where it came to leaving them float.
        """
        tried: list[Trial] = []
        best = start
        held: tuple[Repair, ...] = ()
        for repair in _pass(start.way).repairs():
            stack = (*(one for one in held if not _within(one, repair)), repair)
            rung = self._standing_on(start, stack)
            if rung is None:
                continue
            tried.append(rung)
            if rung.stands:
                return tried, ()
            if _cosine(rung) > _cosine(best) + BETTER:
                best, held = rung, stack
        layers = self.sensitivity(best)
        tried += self._sparing(best, [layer.node for layer in layers])
        return tried, layers

    def sensitivity(self, trial: Trial) -> tuple[Sensitivity, ...]:
        """Quantise one layer at a time and hold each graph against the float one, worst first."""
        one, before = _pass(trial.way), trial.input
        names = _weighted(before, trial)
        found = []
        for done, (name, operator) in enumerate(names.items(), 1):
            alone = one.sparing([other for other in _layers(before) if other != name])
            assert alone is not None
            if "samples" in type(alone).model_fields:
                alone = alone.model_copy(update={"samples": SAMPLES})
            lineage = trial.steps[: trial.place]
            try:
                node = self.chain.step(before, _record(alone), lineage)
                near = self.scorer.fidelity(node)
                metric = self.scorer.score(node)
            except EdgepackError:  # alone it cannot be quantised: nothing is known of it
                continue
            found.append(
                Sensitivity(
                    node=name,
                    operator=operator,
                    decibel=near.decibel,
                    cosine=near.cosine,
                    metric=metric.after,
                )
            )
            self.chain.events.progress("sensitivity", done, len(names))
        return tuple(sorted(found, key=lambda layer: (layer.decibel, layer.node)))

    def _standing_on(self, start: Trial, repairs: Sequence[Repair]) -> Trial | None:
        """Try several repairs together; None where one needs data that there is none of."""
        steps: dict[str, StepRecord] = {}
        for name, options in (pair for repair in repairs for pair in repair.before):
            cls, given = load_pass(name), self.chain.data
            if any(s not in given or given[s].generated for s in cls.needs):
                return None
            steps[name] = _record(cls.model_validate(options))
        changed = {key: value for repair in repairs for key, value in repair.options.items()}
        way = _record(_pass(start.way).model_copy(update=changed))
        label = " + ".join([start.label, *(repair.name for repair in repairs)])
        return self.attempt(way, label, tuple(steps.values()))

    def _sparing(self, best: Trial, names: Sequence[str]) -> Iterator[Trial]:
        """Leave 1, 2, 4, ... layers float until that is enough, then as few as are."""
        one = _pass(best.way)

        def left(count: int) -> Trial:
            way = one.sparing(names[:count])
            assert way is not None
            told = f"{count} layers float" if count > 1 else "1 layer float"
            return self.attempt(_record(way), f"{best.label} + {told}", best.before)

        count, short = 1, 0
        while short < count < len(names):
            rung = left(count)
            yield rung
            if rung.stands:
                while count - short > 1:
                    middle = (count + short) // 2
                    rung = left(middle)
                    yield rung
                    count, short = (middle, short) if rung.stands else (count, middle)
                return
            count, short = min(2 * count, len(names) - 1), count


def _within(one: Repair, other: Repair) -> bool:
    """Whether a repair sets nothing that the other does not set as well."""
    return one.options.keys() <= other.options.keys() and {n for n, _ in one.before} <= {
        n for n, _ in other.before
    }


def _pass(way: StepRecord) -> Pass:
    return load_pass(way.name).model_validate(way.options)


def _record(one: Pass) -> StepRecord:
    return StepRecord(name=one.name, version=one.version, options=one.model_dump(mode="json"))


def _cosine(trial: Trial) -> float:
    found = trial.found.fidelity if trial.found is not None else None
    return found.cosine if found is not None else -1.0


def _layers(node: Node) -> dict[str, tuple[str, int]]:
    """Return the operator and the size of the weights of each layer that has constant ones."""
    graph = node.load().model.graph
    found = {}
    for one in graph:
        if one.op_type not in WEIGHTED or len(one.inputs) < 2 or one.inputs[1] is None:
            continue
        if one.inputs[1].const_value is not None:
            found[str(one.name)] = (one.op_type, one.inputs[1].const_value.size)
    return found


def _weighted(before: Node, trial: Trial) -> dict[str, str]:
    """Return the layers that a trial quantised, those with the most weights where they are many."""
    step = trial.nodes[trial.place + 1].step
    left = (step.decision or {}).get("left", {}) if step is not None else {}
    layers = {name: one for name, one in _layers(before).items() if name not in left}
    largest = sorted(layers, key=lambda name: -layers[name][1])[:MOST]
    return {name: layers[name][0] for name in layers if name in largest}
