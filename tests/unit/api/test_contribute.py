"""The effect of each step, on values that are words: a model step appends, the rest is counted."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from edgepack.api import contribute as module
from edgepack.api.chain import Node
from edgepack.api.contribute import Contributions
from edgepack.api.trials import Chosen
from edgepack.base import Silent, StepRecord
from edgepack.errors import ModelError
from edgepack.plan import Choice, Plan
from edgepack.report import Device, Metric, Step

POINTS = {"m": 99.0, "mc": 60.0, "mct": 98.0, "mctq": 97.5}
KINDS = {"cut": "model", "train": "model", "break": "model", "export": "graph", "quantize": "graph"}
LETTER = {"cut": "c", "train": "t", "break": "!", "quantize": "q"}


def record(name, scheme=""):
    return StepRecord(name=name, version=1, options={"scheme": scheme})


@dataclass(frozen=True)
class Words:
    """A chain whose values are words; `!` cannot be exported."""

    events: Silent = field(default_factory=Silent)

    def run(self, records):
        nodes = [self.node("m", "model")]
        for one in records:
            word, kind = nodes[-1].key, KINDS.get(one.name, "artifact")
            if one.name == "export" and "!" in word:
                raise ModelError("E400", "it cannot be exported", fix="")
            letter = "" if one.options["scheme"] == "float" else LETTER.get(one.name, "")
            nodes.append(self.node(word + letter, kind, one.name))
        return nodes

    def node(self, word, kind, name=""):
        size = 50 if "c" in word else 100
        facts = {"bytes": size // 4 if "q" in word else size}
        if kind == "model":
            facts |= {"parameters": size, "multiply_adds": 10 * size}
        else:
            facts |= {"nodes": 3, "operators": {"QLinearConv" if "q" in word else "Conv": 3}}
        step = Step.model_validate({"pass": name, "seconds": 0}) if name else None
        return Node(word, kind, lambda: word, facts, step)


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(
        module,
        "load_pass",
        lambda name: SimpleNamespace(
            takes="model" if name in {"cut", "train", "break"} else "graph",
            gives=KINDS.get(name, "artifact"),
        ),
    )
    monkeypatch.setattr(module, "counting", lambda target: ("qemu:cortex-a72",))
    asked = []

    def count(artifact, on):
        asked.append(artifact)
        return Device(on=on, verdict="pass", instructions=1000 + len(artifact))

    def score(graph, against=None):
        before, after = POINTS[against.key.strip("!")], POINTS[graph.key.strip("!")]
        return Metric(name="accuracy", before=before, after=after, samples=360)

    def told(*names, known=(7, 8)):
        taken, left = record("quantize", "int8"), record("quantize", "float")
        choice = Choice(ways=(taken, left), asked=True)
        steps = (*map(record, names), record("export"), choice, record("pack"))
        plan = Plan(name="n", target="t", source="s", steps=steps)
        chain = Words()
        followed = plan.with_way(taken)
        chosen = Chosen(followed, (), *known)
        nodes = [*chain.run(tuple(s for s in followed if s.name != "export"))]
        exported = chain.node(nodes[len(names)].key, "graph", "export")
        nodes.insert(len(names) + 1, exported)
        made = Contributions(
            plan, None, chain, SimpleNamespace(score=score), SimpleNamespace(count=count)
        )
        return made.steps(chosen, nodes), asked

    return told


def test_each_step_has_what_was_before_it_and_after(measured):
    steps, _ = measured("cut", "train")
    effects = {step.name: step.effect for step in steps}
    assert effects["export"] is None
    assert effects["pack"] is None
    cut, trained, quantised = (effects[name] for name in ("cut", "train", "quantize"))
    assert cut.before.model_dump() == {
        "parameters": 100, "multiply_adds": 1000, "bytes": 100, "instructions": 1001,
    }  # fmt: skip
    assert (cut.after.parameters, cut.after.bytes) == (50, 50)
    assert (cut.metric.before, cut.metric.after) == (99.0, 60.0)
    assert trained.before == cut.after
    assert (trained.metric.before, trained.metric.after) == (60.0, 98.0)
    assert (quantised.before, quantised.after.bytes) == (trained.after, 12)
    assert quantised.after.parameters == 50


def test_equal_work_is_counted_once_and_what_is_known_not_at_all(measured):
    steps, asked = measured("cut", "train")
    counts = [step.effect.after.instructions for step in steps if step.effect]
    assert counts == [8, 8, 7]
    assert asked == ["m"]
    _, again = measured("cut", "train", known=(None, None))
    assert again[1:] == ["m", "mc", "mctq"]


def test_a_step_that_cannot_be_exported_says_why_and_the_next_is_held_to_the_last(measured):
    steps, _ = measured("cut", "break")
    broken = steps[1].effect
    assert broken.why == "it cannot be exported"
    assert broken.metric is None
    assert broken.after.bytes is None


def test_a_plan_without_compression_has_no_effects(measured):
    steps, asked = measured()
    assert [step.effect for step in steps] == [None, None, None]
    assert asked == []
