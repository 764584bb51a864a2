"""The manifest: what an artifact says of itself (`edgepack.artifact/1`).

Fields are only ever added at the top level. A reader ignores a field that it does not know, unless
`critical` names it: then it refuses the artifact.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from edgepack.artifact.canonical import SAFE
from edgepack.artifact.format import LEADING, MODEL, MOST_FILES, clash, is_name
from edgepack.base import StepRecord
from edgepack.types import DType, Frozen, SessionSettings, Split, TensorSpec, Tolerance

FORMAT = "edgepack.artifact/1"
VECTORS, SHAPES = 8, 3
"""Most golden vectors, and most distinct shapes among them."""

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Word: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
Version: TypeAlias = Annotated[str, Field(pattern=r"^([0-9]{1,6}(\.[0-9]{1,6}){0,3})?$")]
Count: TypeAlias = Annotated[int, Field(ge=0, le=SAFE)]

ITEM_BYTES: dict[DType, int] = {
    "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "float16": 2,
    "uint32": 4, "int32": 4, "float32": 4, "uint64": 8, "int64": 8, "float64": 8,
}  # fmt: skip
"""Bytes of one element in a golden file; strings have no raw form."""


class Isa(Frozen):
    """The instruction set that the model was made for, and the features it may use."""

    arch: Word
    features: tuple[Word, ...]


class Runtime(Frozen):
    """The package that runs the model and its versions, both inclusive; empty is no bound."""

    package: Word
    minimum: Version
    maximum: Version


class Operation(Frozen):
    """One declarative step before or after the model."""

    op: Word
    options: dict[str, Any]


class Tensor(Frozen):
    """A golden tensor: a raw little-endian file in C order."""

    name: str
    dtype: DType
    shape: tuple[Count, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class Vector(Frozen):
    """One golden vector, each tensor in the order of the model's inputs and outputs."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def files(self, index: int) -> dict[str, Tensor]:
        """Return the tensors by their names in the artifact."""
        sides = (("input", self.inputs), ("output", self.outputs))
        return {
            f"golden/{index}/{side}.{position}.bin": tensor
            for side, tensors in sides
            for position, tensor in enumerate(tensors)
        }


class Golden(Frozen):
    """Inputs and the outputs that are right for them.

    Attributes:
        generated: the inputs were made up, for want of data.
        runtime: what computed the outputs, e.g. ``onnxruntime 1.31.1``.
        session: the settings that it used.
        vectors: up to eight, of up to three shapes; none where there was no data at all.
    """

    generated: bool
    runtime: str
    session: SessionSettings
    vectors: Annotated[tuple[Vector, ...], Field(max_length=VECTORS)]


class FileRecord(Frozen):
    """Name, size in bytes and SHA-256 of one file."""

    name: str
    size: Count
    sha256: Sha256


class Manifest(Frozen):
    """Everything an artifact says; `docs/artifact.md` gives each field's meaning."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["edgepack.artifact/1"]
    name: Name
    release: Count
    target: Name
    isa: Isa
    runtime: Runtime
    session: SessionSettings
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: tuple[Operation, ...]
    postprocessing: tuple[Operation, ...]
    tokenizer: tuple[str, ...]
    scheme: Word
    tolerance: Tolerance
    golden: Golden
    passes: tuple[StepRecord, ...]
    seed: Count
    edgepack: str
    source: Sha256
    data: dict[Split, Sha256]
    key_id: Sha256 | None
    critical: tuple[str, ...]
    state: dict[str, str] = {}
    files: Annotated[tuple[FileRecord, ...], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _files_are_lawful(self) -> Self:
        names = [record.name for record in self.files]
        if wrong := [name for name in names if name in LEADING or not is_name(name)]:
            raise ValueError(f"`{wrong[0]}` is not a name that an artifact may hold")
        if any(left >= right for left, right in pairwise(names)):
            raise ValueError("files are not in the order of their names, or one stands twice")
        if found := clash(names):
            raise ValueError(f"`{found}` differs from another name only by case, or is its folder")
        if MODEL not in names:
            raise ValueError(f"there is no {MODEL}")
        if lost := set(self.tokenizer) - {n for n in names if n.startswith("assets/")}:
            raise ValueError(f"tokenizer file `{min(lost)}` is not among the assets")
        return self

    @model_validator(mode="after")
    def _vectors_are_lawful(self) -> Self:
        sizes = {f.name: f.size for f in self.files if f.name.startswith("golden/")}
        told: dict[str, int] = {}
        for index, vector in enumerate(self.golden.vectors):
            for specs, tensors in ((self.inputs, vector.inputs), (self.outputs, vector.outputs)):
                if [(s.name, s.dtype) for s in specs] != [(t.name, t.dtype) for t in tensors]:
                    raise ValueError(f"golden vector {index} does not fit the model's interface")
            if any(t.dtype == "string" for t in (*vector.inputs, *vector.outputs)):
                raise ValueError("a golden tensor of strings has no raw form")
            told |= {name: tensor.size for name, tensor in vector.files(index).items()}
        if told != sizes:
            raise ValueError("golden files are not the ones that the vectors describe")
        shapes = {tuple(t.shape for t in vector.inputs) for vector in self.golden.vectors}
        if len(shapes) > SHAPES:
            raise ValueError(f"golden vectors have more than {SHAPES} distinct shapes")
        return self

    @model_validator(mode="after")
    def _critical_is_sorted(self) -> Self:
        if list(self.critical) != sorted(set(self.critical)):
            raise ValueError("critical is not sorted, or holds a name twice")
        return self

    @model_validator(mode="after")
    def _state_is_lawful(self) -> Self:
        if not self.state and "state" in self.model_fields_set:
            raise ValueError("a state that is empty is left out")
        taken = {spec.name: spec for spec in self.inputs}
        given = {spec.name: spec for spec in self.outputs}
        for entry, source in self.state.items():
            if entry not in taken or source not in given:
                raise ValueError(f"the state `{entry}` = `{source}` is no input and output")
            if taken[entry].dtype != given[source].dtype:
                raise ValueError(f"the state `{entry}` is of another type than `{source}`")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_state(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an empty state: manifests written before there was one have no such field."""
        told: dict[str, Any] = dump(self)
        return told if self.state else {k: v for k, v in told.items() if k != "state"}

    def file(self, name: str) -> FileRecord | None:
        """Return the record of one file."""
        return next((record for record in self.files if record.name == name), None)
