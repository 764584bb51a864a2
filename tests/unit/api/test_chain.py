from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from edgepack.api import chain as chain_module
from edgepack.api.chain import Chain
from edgepack.base import GraphPass, Silent, StepRecord
from edgepack.cache import Cache
from edgepack.errors import HostError
from edgepack.types import Sample


@dataclass
class Text:
    """A value that is a word; it stands in for a graph."""

    word: str

    def facts(self):
        return {"bytes": len(self.word)}

    def save(self, folder):
        (folder / "word").write_text(self.word)


class Append(GraphPass):
    """Add a letter."""

    name = "append"
    reads = frozenset({"calibration"})
    applied: ClassVar[list[str]] = []

    letter: str = "x"

    def apply(self, graph, /, context):
        Append.applied.append(self.letter)
        context.events.decision({"letter": self.letter})
        context.events.note("added")
        return Text(graph.word + self.letter)


@dataclass
class Data:
    digest: str
    generated: bool = False

    def __len__(self):
        return 0

    def __iter__(self):
        return iter(list[Sample]())


@dataclass
class Source:
    digest: str = "source"
    gives: str = "graph"
    assets: tuple = ()
    loads: list = field(default_factory=list)

    def load(self, context):
        self.loads.append(1)
        return Text("a")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    monkeypatch.setattr(chain_module, "load_pass", lambda name: Append)
    monkeypatch.setattr(
        Chain, "_load", lambda self, kind, entry: Text((Path(entry) / "word").read_text())
    )
    Append.applied.clear()


def run(tmp_path, *letters, source=None, data="d", seed=0):
    chain = Chain(
        source or Source(), seed, {"calibration": Data(data)}, None, Silent(), Cache(tmp_path), {}
    )
    return chain.run(
        tuple(StepRecord(name="append", version=1, options={"letter": c}) for c in letters)
    )


def test_steps_follow_one_another_and_tell_what_they_did(tmp_path):
    nodes = run(tmp_path, "b", "c")
    assert [node.load().word for node in nodes] == ["a", "ab", "abc"]
    step = nodes[2].step
    assert (step.decision, step.notes, step.cached) == ({"letter": "c"}, ("added",), False)
    assert (step.before, step.after) == ({"bytes": 2}, {"bytes": 3})


def test_a_second_run_applies_nothing_and_tells_the_same(tmp_path):
    first = run(tmp_path, "b", "c")
    source = Source()
    second = run(tmp_path, "b", "c", source=source)
    assert Append.applied == ["b", "c"]
    assert source.loads == []
    assert [node.key for node in first] == [node.key for node in second]
    assert second[2].step.cached
    assert second[2].step.decision == {"letter": "c"}
    assert second[2].load().word == "abc"


def test_a_shared_beginning_runs_once(tmp_path):
    run(tmp_path, "b", "c")
    run(tmp_path, "b", "d")
    assert Append.applied == ["b", "c", "d"]


@pytest.mark.parametrize("change", [{"data": "other"}, {"seed": 1}, {"source": Source("other")}])
def test_what_a_step_depends_on_is_in_its_key(tmp_path, change):
    run(tmp_path, "b")
    run(tmp_path, "b", **change)
    assert Append.applied == ["b", "b"]


def test_a_missing_package_is_an_error_with_its_command(tmp_path):
    class Bare(Source):
        def load(self, context):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

    with pytest.raises(HostError) as caught:
        run(tmp_path, source=Bare())
    assert caught.value.code == "E321"
    assert "edgepack[torch]" in caught.value.fix


def test_a_failing_step_stores_nothing(tmp_path, monkeypatch):
    def fail(self, graph, /, context):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Append, "apply", fail)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, "b")
    run(tmp_path, "b")
    assert Append.applied == ["b"]


def test_what_this_command_made_is_not_called_cached(tmp_path):
    chain = Chain(
        Source(), 0, {"calibration": Data("d")}, None, Silent(), Cache(tmp_path, fresh=True), {}
    )
    records = (StepRecord(name="append", version=1, options={"letter": "b"}),)
    assert [chain.run(records)[1].step.cached for _ in range(2)] == [False, False]
    assert Append.applied == ["b"]
