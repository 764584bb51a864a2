"""Runs a plan's steps through the cache; a value is made or loaded only when it is asked for."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from edgepack.api.crew import Crew
from edgepack.base import Context, Events, Kind, Runner, StepRecord
from edgepack.cache import Cache
from edgepack.errors import HostError
from edgepack.registry import load_pass
from edgepack.report import Step
from edgepack.types import Samples, Split, digest_of, file_digest

if TYPE_CHECKING:
    from edgepack.graph import Graph
    from edgepack.model import Model
    from edgepack.source import Source

    Value = Any  # Model | Graph | Artifact; naming them here would load torch


TORCH_PACKAGES = {
    "accelerate", "optimum", "PIL", "safetensors", "sklearn", "torch", "torch_pruning",
    "transformers",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A value somewhere along the plan, known by its key and loaded on demand.

    Attributes:
        key: SHA-256 over all that decides the value.
        kind: what the value is.
        load: returns the value, the same one each time.
        facts: what the value said of itself when it was made.
        step: how it came about, for the report; None for the source.
    """

    key: str
    kind: Kind
    load: Callable[[], Value]
    facts: Mapping[str, Any]
    step: Step | None = None


@dataclass
class Recorder:
    """Passes events on and keeps what the running step decided and noted."""

    events: Events
    decided: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def progress(self, what: str, done: int, total: int) -> None:
        """Pass progress on."""
        self.events.progress(what, done, total)

    def figures(self, what: str, values: Mapping[str, float]) -> None:
        """Pass figures on."""
        self.events.figures(what, values)

    def note(self, text: str) -> None:
        """Keep a note and pass it on."""
        self.notes.append(text)
        self.events.note(text)

    def decision(self, value: BaseModel | Mapping[str, Any]) -> None:
        """Keep a decision."""
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else dict(value)
        self.decided.update(plain)


@dataclass(frozen=True)
class Chain:
    """Everything that steps share within one command."""

    source: Source
    seed: int
    data: Mapping[Split, Samples]
    runner: Runner
    events: Events
    cache: Cache
    facts: Mapping[str, Any]
    models: Mapping[str, Source] = field(default_factory=dict)
    """Other models that steps name, by their references."""
    crew: Crew | None = None
    """The processes that walk through these steps side by side, where there are several."""
    made: dict[str, Step] = field(default_factory=dict)
    """Steps that this command applied, by key: what shares them takes them, not the cache."""

    def start(self) -> Node:
        """Return the model as it comes in."""
        key = digest_of("source", versions(), self.source.digest, self.seed)
        return self._node(key, self.source.gives, None, lambda context: self.source.load(context))

    def step(self, node: Node, record: StepRecord, lineage: tuple[StepRecord, ...]) -> Node:
        """Return the value after one more pass."""
        cls = load_pass(record.name)
        one = cls.model_validate(record.options)
        read = {s: self.data[s].digest for s in sorted(cls.reads | cls.needs) if s in self.data}
        # What an artifact records of its history is a part of it.
        history = [r.model_dump() for r in lineage] if cls.gives == "artifact" else []
        facts = dict(self.facts) if cls.gives == "artifact" else {}
        named = {reference: self.models[reference].digest for reference in one.models()}
        key = digest_of(
            "step", versions(), node.key, record, read, named, self.seed, history, facts
        )
        return self._node(
            key,
            cls.gives,
            record,
            lambda context: one.apply(node.load(), replace(context, lineage=lineage)),
            before=node.facts,
        )

    def run(self, records: tuple[StepRecord, ...]) -> list[Node]:
        """Return the node after each step, the source first."""
        nodes = [self.start()]
        for index, record in enumerate(records):
            nodes.append(self.step(nodes[-1], record, records[:index]))
        return nodes

    @contextmanager
    def context(self, events: Events, key: str = "") -> Iterator[Context]:
        """Yield the context of one step, with a work folder that lasts as long as the step.

        With the step's key it has a folder for checkpoints, too.
        """
        with tempfile.TemporaryDirectory(prefix="edgepack-") as work:
            yield Context(
                work=Path(work),
                seed=self.seed,
                data=self.data,
                runner=self.runner,
                events=events,
                assets=self.source.assets,
                facts=self.facts,
                original=self._original if self.source.gives == "model" else None,
                models={name: partial(self._model, name) for name in self.models},
                resume=self.cache.root / "unfinished" / key if key else None,
            )

    def _original(self) -> Model:
        model: Model = self.start().load()
        return model

    def _model(self, reference: str) -> Model:
        with self.context(self.events) as context:
            return self._as_model(self.models[reference].load(context))

    def _node(
        self,
        key: str,
        kind: Kind,
        record: StepRecord | None,
        make: Callable[[Context], Value],
        before: Mapping[str, Any] | None = None,
    ) -> Node:
        name = record.name if record else "load"
        options = record.options if record else {}
        if found := self._cached(key):
            entry, step, facts = found
            return Node(key, kind, cache(lambda: self._load(kind, entry)), facts, step)
        recorder = Recorder(self.events)
        self.events.progress(name, 0, 1)
        began = time.monotonic()
        with self.context(recorder, key) as context:
            with maybe_torch(), redirect_stdout(sys.stderr):  # stdout is for the result alone
                value = make(context)
            facts = value.facts()
            step = Step.model_validate(
                {
                    "pass": name,
                    "options": options,
                    "seconds": round(time.monotonic() - began, 3),
                    "decision": recorder.decided,
                    "notes": recorder.notes,
                    "before": before or {},
                    "after": facts,
                }
            )
            if self.crew is None or self.crew.keeps:
                with self.cache.put(key) as stage:
                    _save(kind, value, stage)
                    told = {"step": step.model_dump(mode="json", by_alias=True), "facts": facts}
                    (stage / "step.json").write_text(json.dumps(told))
                if context.resume is not None:
                    shutil.rmtree(context.resume, ignore_errors=True)
            if self.crew:
                self.crew.wait()
        self.made[key] = step
        self.events.progress(name, 1, 1)
        if kind == "artifact":
            stored = self.cache.get(key)
            assert stored is not None
            value = self._load(kind, stored)
        return Node(key, kind, lambda: value, facts, step)

    def _cached(self, key: str) -> tuple[Path, Step, Mapping[str, Any]] | None:
        """Return a key's entry, its step and facts; of several processes each must have it."""
        found = None
        if entry := self.cache.get(key):
            try:
                told = json.loads((entry / "step.json").read_bytes())
                step = self.made.get(key) or Step.model_validate({**told["step"], "cached": True})
                found = entry, step, told["facts"]
            except (OSError, ValueError, LookupError, TypeError) as problem:
                self.cache.drop(key, f"it cannot be read: {problem}")
        return found if self.crew is None or self.crew.all(found is not None) else None

    def _load(self, kind: Kind, entry: Path) -> Value:
        if kind == "artifact":
            from edgepack.artifact import Artifact

            return Artifact.open(entry / "artifact.edgepack")
        if kind == "graph":
            from edgepack.graph import Graph

            return Graph.load(entry)
        from edgepack.model import Model

        def fresh(reference: str) -> Model:
            source = self.models[reference] if reference else self.source
            return self._as_model(source.fresh(context))

        with self.context(self.events) as context:
            return Model.load(entry, fresh)

    def _as_model(self, value: Model | Graph) -> Model:
        from edgepack.model import Model

        assert isinstance(value, Model)
        return value


@contextmanager
def maybe_torch() -> Iterator[None]:
    """Name a package that is missing because only torch models need it.

    Raises:
        HostError: E321.
    """
    try:
        yield
    except ModuleNotFoundError as problem:
        if (problem.name or "").partition(".")[0] not in TORCH_PACKAGES:
            raise
        raise HostError(
            "E321",
            f"{problem.name} is not installed, and this model needs it",
            fix="pip install 'edgepack[torch]'",
        ) from problem


def _save(kind: Kind, value: Value, stage: Path) -> None:
    if kind == "artifact":
        shutil.copyfile(value.path, stage / "artifact.edgepack")
    else:
        value.save(stage)


@cache
def versions() -> dict[str, str]:
    """Return what a cached value depends on besides its inputs: libraries and our own source."""
    names = ["numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "torch", "torch-pruning"]
    found: dict[str, str] = {}
    for name in [*names, "transformers", "tokenizers", "pillow"]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    package = Path(__file__).parent.parent
    ours = sorted(p for p in package.rglob("*") if p.suffix in {".py", ".c"})
    found["edgepack"] = digest_of([[str(p.relative_to(package)), file_digest(p)] for p in ours])
    return found
