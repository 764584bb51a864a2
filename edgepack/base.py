"""The one abstraction: a pass turns a value into a new value.

A pass is a frozen pydantic model whose fields are its options in TOML, its help and its cache key.
Passes inherit from one of four bases, which say what they take and give, and from nothing else:

====================  ========  ==========
base                  takes     gives
====================  ========  ==========
`ModelPass`           Model     Model
`ExportPass`          Model     Graph
`GraphPass`           Graph     Graph
`PackPass`            Graph     Artifact
====================  ========  ==========
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias

from pydantic import BaseModel

from edgepack.types import Asset, Frozen, Sample, Samples, SessionSettings, Split

if TYPE_CHECKING:
    from edgepack.artifact import Artifact
    from edgepack.graph import Graph
    from edgepack.model import Model
    from edgepack.types import Tensors

Kind: TypeAlias = Literal["model", "graph", "artifact"]


class Session(Protocol):
    """A loaded graph that answers."""

    def run(self, inputs: Tensors, outputs: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Feed named tensors and return the named outputs (all of them for None) as arrays."""


class Runner(Protocol):
    """Runs ONNX graphs in a child process with limits; the only way to run ONNX."""

    def open(
        self, graph: Graph | Path, settings: SessionSettings | None = None
    ) -> AbstractContextManager[Session]:
        """Load a graph and yield its session; a crash or hang becomes a `ModelError`."""


class Events(Protocol):
    """Where passes tell of their progress; the command line draws it, tests record it."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` units of `what` are done."""

    def figures(self, what: str, values: Mapping[str, float]) -> None:
        """Say where `what` stands, such as a training's loss; it is not kept."""

    def note(self, text: str) -> None:
        """Say one sentence that a user should read, such as why something was left out."""

    def decision(self, value: BaseModel | Mapping[str, Any]) -> None:
        """Record what the running pass decided before it edits; it goes into the report."""


class Silent:
    """Events that nobody watches."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Say nothing."""

    def figures(self, what: str, values: Mapping[str, float]) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def decision(self, value: BaseModel | Mapping[str, Any]) -> None:
        """Record nothing."""


Interval: TypeAlias = tuple[float, float]
"""A 95 % confidence interval."""
Row: TypeAlias = tuple[float, ...]
Rows: TypeAlias = tuple[Row, ...]
"""What samples were reduced to, in their order; a row's first number is its sample's index."""


class Tally(Protocol):
    """A metric in the making.

    Attributes:
        samples: how many were added.
        lower_is_better: it counts mistakes; known once `value` was asked.
        relative: its drop is a percentage of the value before; known likewise.
    """

    samples: int
    lower_is_better: bool
    relative: bool

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Take in one sample: the outputs of each of its runs, and the reference model's."""

    def value(self) -> float:
        """Return the number; raises a `MeasurementError` where it is not defined."""

    def interval(self) -> Interval | None:
        """Return its interval, where there is one."""

    def rows(self) -> Rows:
        """Return what the samples were reduced to; nothing where the metric keeps no such rows."""


class StepRecord(Frozen):
    """One step of the plan as the artifact remembers it: the pass, its version and options."""

    name: str
    version: int
    options: dict[str, Any]


class Repair(Frozen):
    """What may bring answers back inside their tolerance.

    Attributes:
        name: what a table of candidates calls it.
        before: passes that go before the one that is repaired, each with its options.
        options: of the pass itself, which change.
    """

    name: str
    before: tuple[tuple[str, dict[str, Any]], ...] = ()
    options: dict[str, Any] = {}


@dataclass(frozen=True)
class Context:
    """All that is ambient for a pass.

    Attributes:
        work: an empty folder of this step's own; it is removed afterwards.
        seed: seeds every generator.
        data: the splits at hand; a missing key means that the user gave none and none can be made.
        runner: runs graphs.
        events: takes progress, notes and decisions.
        assets: files that travel into the artifact, from the source.
        lineage: the steps that were applied before this one.
        facts: digests and facts of source and data that the artifact records.
        original: loads the model as it came in; None where a graph came in.
        models: load the models that steps name, such as students, by their references.
        resume: a folder that outlives a killed build, for checkpoints; it may not exist yet, and is
            removed once the step is done.
    """

    work: Path
    seed: int
    data: Mapping[Split, Samples]
    runner: Runner
    events: Events
    assets: tuple[Asset, ...] = ()
    lineage: tuple[StepRecord, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    original: Callable[[], Model] | None = None
    models: Mapping[str, Callable[[], Model]] = field(default_factory=dict)
    resume: Path | None = None


class Pass(Frozen, ABC):
    """What all passes share; inherit from one of the four bases below instead.

    Class attributes:
        name: the word in a recipe.
        version: raised when the same options would give another result; a part of the cache key.
        takes, gives: the kinds of value.
        needs: splits that must be there, else the plan is refused.
        reads: splits that change the result when they are there; a part of the cache key.
        from_target: fields that the plan fills from the target where the recipe leaves them out,
            as field -> dotted path in the target's TOML.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    takes: ClassVar[Kind]
    gives: ClassVar[Kind]
    needs: ClassVar[frozenset[Split]] = frozenset()
    reads: ClassVar[frozenset[Split]] = frozenset()
    from_target: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def apply(self, value: Any, /, context: Context) -> Any:
        """Return a new value; the one given stays as it is."""

    @property
    def label(self) -> str:
        """What a table of candidates calls it."""
        return self.name

    def models(self) -> tuple[str, ...]:
        """Return references of other models that it takes, such as ``torch:student.py:build``."""
        return ()

    def ways(self) -> tuple[Self, ...]:
        """Return what a build chooses from, in order of preference.

        It is itself alone where nothing is left open. Where there are several, the last leaves the
        value as it is: what the others are held against. Itself among them is taken whatever the
        others measure.
        """
        return (self,)

    def narrower(self, facts: Mapping[str, Any]) -> tuple[Self, ...]:
        """Return lesser forms to try where this one did not gain; `facts` are of what it takes."""
        return ()

    def repairs(self) -> tuple[Repair, ...]:
        """Return what to try where its answers are wrong, the cheapest first."""
        return ()

    def sparing(self, names: Sequence[str]) -> Self | None:
        """Return the pass that leaves these nodes as they are; None where it cannot."""
        return None


class ModelPass(Pass):
    """Model -> Model: compression in torch."""

    takes = "model"
    gives = "model"

    @abstractmethod
    def apply(self, model: Model, /, context: Context) -> Model:
        """Return a new model; the one given stays as it is."""


class ExportPass(Pass):
    """Model -> Graph: leaving torch."""

    takes = "model"
    gives = "graph"

    @abstractmethod
    def apply(self, model: Model, /, context: Context) -> Graph:
        """Return the model as an ONNX graph."""


class GraphPass(Pass):
    """Graph -> Graph: rewrites and quantisation."""

    takes = "graph"
    gives = "graph"

    @abstractmethod
    def apply(self, graph: Graph, /, context: Context) -> Graph:
        """Return a new graph; the one given stays as it is."""


class PackPass(Pass):
    """Graph -> Artifact: one file."""

    takes = "graph"
    gives = "artifact"

    @abstractmethod
    def apply(self, graph: Graph, /, context: Context) -> Artifact:
        """Return the artifact, written into the context's work folder."""
