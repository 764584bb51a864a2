"""Values that cross stages: specs of tensors, edits, samples and numeric decisions.

Nothing heavy is imported here: neither torch, onnx, onnxruntime nor numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    Tensors: TypeAlias = Mapping[str, Array]
    """Named tensors as a model takes or gives them, batch axis included."""

DType: TypeAlias = Literal[
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64", "string",
]  # fmt: skip
Split: TypeAlias = Literal["train", "calibration", "evaluation"]
Scheme: TypeAlias = Literal[
    "w8a8-static", "w8-dynamic", "fp16", "bf16", "float", "w8-weight-only", "w4-weight-only",
    "w2-weight-only", "ternary-weight-only", "binary-weight-only",
]  # fmt: skip
"""How weights and activations are stored and computed; see `docs/vocabulary.md`."""
Width: TypeAlias = Literal["binary", "ternary", "w2", "w4", "w8"]
"""How many levels a weight has: 2, 3, 4, 16 or 256."""
SPLITS: tuple[Split, ...] = ("train", "calibration", "evaluation")


class Frozen(BaseModel):
    """Base of every value that is written down: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(Frozen):
    """Name, numpy dtype and shape of a tensor; a dynamic axis is a name instead of a number."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


class Cut(Frozen):
    """Removal of output or input channels of one module, together with all that depends on them."""

    kind: Literal["cut"] = "cut"
    module: str
    side: Literal["out", "in"]
    indices: tuple[int, ...]


class Drop(Frozen):
    """Removal of entries of one list of layers; those that stay move up."""

    kind: Literal["drop"] = "drop"
    module: str
    indices: tuple[int, ...]


class Insert(Frozen):
    """Growth that leaves the answers as they are: new parts give nothing until they are trained.

    Attributes:
        module: a block that gets more neurons, or a list of layers that gets more layers.
        neurons: how many neurons more.
        layers: after which layers of the list a copy that gives nothing is put.
    """

    kind: Literal["insert"] = "insert"
    module: str
    neurons: int = 0
    layers: tuple[int, ...] = ()


class Heads(Frozen):
    """Removal of attention heads of one attention module.

    Attributes:
        indices: the key/value heads that go, each with all query heads that read it.
    """

    kind: Literal["heads"] = "heads"
    module: str
    indices: tuple[int, ...]


class Replace(Frozen):
    """A block of another structure in the place of a module; see `model.blocks`.

    Attributes:
        by: the block.
        rank: inner width, for blocks that have one.
    """

    kind: Literal["replace"] = "replace"
    module: str
    by: Literal["low-rank", "factorised-embedding", "depthwise-separable", "relu", "hard-swish"]
    rank: int = 0


class Tie(Frozen):
    """One module that serves in the place of another as well."""

    kind: Literal["tie"] = "tie"
    module: str
    to: str


class Config(Frozen):
    """A transformers model made anew from its configuration with other values.

    Attributes:
        module: where in the model it hangs; an empty string for the model itself.
    """

    kind: Literal["config"] = "config"
    module: str
    values: dict[str, int | float | str | bool]


class Student(Frozen):
    """Another source's model in the place of the whole; always the first of a model's edits."""

    kind: Literal["student"] = "student"
    source: str


class Fold(Frozen):
    """A batch norm that goes into the layer before it; in its place nothing happens.

    Attributes:
        module: the layer, which has a bias from then on.
        norm: the batch norm.
    """

    kind: Literal["fold"] = "fold"
    module: str
    norm: str


class Fake(Frozen):
    """Rounding of what a module takes or gives to 256 levels: x = (level - zero) * scale."""

    kind: Literal["fake"] = "fake"
    module: str
    side: Literal["in", "out"]
    scale: float = Field(gt=0)
    zero: int = Field(ge=0, le=255)


Edit: TypeAlias = Annotated[
    Cut | Drop | Insert | Heads | Replace | Tie | Config | Student | Fold | Fake,
    Field(discriminator="kind"),
]
"""The closed union of structural edits that a cached model replays."""


class Range(Frozen):
    """The interval that a tensor's values span.

    Attributes:
        low, high: its ends.
        clipped: share of the values seen that lie outside.
    """

    low: float
    high: float
    clipped: float = 0.0


class Grid(Frozen):
    """The levels that a weight was trained on: w = (level - zero) * scale.

    Attributes:
        width: how many levels there are.
        axis: along which each place has a scale; one scale for all where None.
        scales: positive or, where channels were turned around, negative.
        zeros: one a scale; empty where all are 0.
    """

    width: Width
    axis: int | None
    scales: tuple[float, ...]
    zeros: tuple[int, ...] = ()


class QuantTable(Frozen):
    """What is known of a graph's numbers before it is quantised.

    Attributes:
        method, samples: how it was found, and from how many samples.
        ranges: what was seen of each tensor.
        grids: the levels of weights, by initializer.
    """

    method: str
    samples: int
    ranges: dict[str, Range]
    grids: dict[str, Grid] = {}


class Tolerance(Frozen):
    """How far a device may stand from the golden outputs.

    Attributes:
        exact: every byte must agree; the other fields are not looked at.
        relative: largest absolute difference over the largest golden magnitude of that output.
        cosine: smallest mean over the vectors of the cosine per vector (see `proof.device`).
    """

    exact: bool
    relative: float = 0.0
    cosine: float = 1.0


class SessionSettings(Frozen):
    """What a runtime session is made with; a part of the artifact.

    Attributes:
        threads: intra-op threads.
        optimization: ONNX Runtime's graph optimisation level.
        providers: execution providers in order of preference.
        entries: session config entries, e.g. ``{"session.x64quantprecision": "1"}``.
    """

    threads: int = 1
    optimization: Literal["disabled", "basic", "extended", "layout", "all"] = "all"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    entries: dict[str, str] = {}


EXACT_INT8 = {"session.x64quantprecision": "1"}
"""Session entry under which x86 without VNNI widens int8 products instead of saturating them."""


@dataclass(frozen=True)
class Sample:
    """One item of data.

    Attributes:
        inputs: what the model is fed, one mapping a run (two for a pair of sentences that are
            encoded apart, one a frame for a model that keeps a state); every array carries a
            leading batch axis of 1.
        label: the expected answer, or None where the data has none.
        state: input -> output: what each run but the first takes from the run before it; see
            `graph.sequence.answers`.
    """

    inputs: tuple[Tensors, ...]
    label: Any = None
    state: Mapping[str, str] = field(default_factory=dict)


class Samples(Protocol):
    """A split of the data: counted, repeatable, streamed."""

    @property
    def digest(self) -> str:
        """SHA-256 that changes whenever the samples may have changed."""

    @property
    def generated(self) -> bool:
        """True where the inputs were made up because the user gave none."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...


@dataclass(frozen=True)
class Asset:
    """A file that travels with the model into the artifact, such as a tokenizer's."""

    name: str
    path: Path


def canonical_json(value: Any) -> bytes:
    """Serialise as sorted, compact, ASCII JSON for digests (the manifest has its own RFC 8785)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest_of(*parts: Any) -> str:
    """Return the SHA-256 of JSON-like parts, each delimited; `Frozen` values are dumped."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(canonical_json(plain)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
