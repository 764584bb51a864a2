"""An ONNX model as edgepack hands it from pass to pass."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

from edgepack import publish
from edgepack.errors import ModelError
from edgepack.graph import weights
from edgepack.graph.weights import MODEL_FILE
from edgepack.types import DType, Frozen, QuantTable, TensorSpec, Tolerance

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

FLOAT_TOLERANCE = Tolerance(exact=False, relative=1e-3, cosine=0.9999)
"""How far float arithmetic of another instruction set may stand from ours."""


class _Card(Frozen):
    """What `graph.json` holds beside the model."""

    scheme: str
    tolerance: Tolerance
    table: QuantTable | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """An ONNX model and its weights.

    Attributes:
        model: the model in memory; whoever holds a Graph may read it, and edits a `copy`.
        scheme: how its weights are stored: ``float``, or what the quantize pass made of it.
        tolerance: how far a device may stand from this graph's own answers.
        table: what training settled of the weights' levels; None where it settled nothing.
    """

    model: ir.Model
    scheme: str = "float"
    tolerance: Tolerance = FLOAT_TOLERANCE
    table: QuantTable | None = None

    @classmethod
    def from_proto(
        cls,
        proto: onnx.ModelProto,
        *,
        scheme: str = "float",
        tolerance: Tolerance = FLOAT_TOLERANCE,
        table: QuantTable | None = None,
    ) -> Self:
        """Wrap a model of our own making; a foreign one goes through `gate.admit`."""
        import onnx_ir as ir

        return cls(ir.from_proto(proto), scheme, tolerance, table)

    @property
    def name(self) -> str:
        """The graph's own name, for messages."""
        return self.model.graph.name or "graph"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model is fed; weights are never among them."""
        stored = self.model.graph.initializers
        return tuple(_spec(v) for v in self.model.graph.inputs if v.name not in stored)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model answers."""
        return tuple(_spec(v) for v in self.model.graph.outputs)

    @property
    def digest(self) -> str:
        """SHA-256 of what `save` makes of the model now: its file, and the weights beside it."""
        layout = weights.lay_out(self.model)
        sha256 = hashlib.sha256(layout.model)
        for piece in layout.data():
            sha256.update(piece)
        return sha256.hexdigest()

    @property
    def weight(self) -> int:
        """Bytes of all weights; nothing is serialised to know them."""
        return weights.weigh(self.model)

    def facts(self) -> dict[str, Any]:
        """Return parameters, bytes of the files, nodes, and how often each operator occurs."""
        nodes = list(self.model.graph.all_nodes())
        operators = Counter(f"{n.domain}.{n.op_type}".lstrip(".") for n in nodes)
        values = [v for g in self.model.graphs() for v in g.initializers.values()]
        return {
            "parameters": sum(v.const_value.size for v in values),
            "bytes": weights.lay_out(self.model).size,
            "nodes": len(nodes),
            "operators": dict(sorted(operators.items())),
        }

    def proto(self) -> onnx.ModelProto:
        """Return the model as a new protobuf message, weights included.

        Beyond 2 GiB such a message can be worked on, and only `weights.save_proto` can write it.
        """
        return weights.to_proto(self.model)

    def copy(self) -> Self:
        """Return a graph that may be edited freely; the weights themselves are shared."""
        return replace(self, model=self.model.clone())

    def replace(
        self,
        *,
        model: ir.Model | None = None,
        scheme: str | None = None,
        tolerance: Tolerance | None = None,
        table: QuantTable | None = None,
    ) -> Self:
        """Return this graph with some of its parts exchanged."""
        return replace(
            self,
            model=self.model if model is None else model,
            scheme=self.scheme if scheme is None else scheme,
            tolerance=self.tolerance if tolerance is None else tolerance,
            table=self.table if table is None else table,
        )

    def write(self, path: Path) -> None:
        """Write the ``.onnx`` file, and ``.onnx.data`` where the weights outgrow it.

        The same graph always gives the same bytes.

        Raises:
            ModelError: E427 when the model is too large even without its weights.
            HostError: E320 when the folder cannot be written.
        """
        layout = weights.lay_out(self.model, path.name)
        layout.write_data(weights.data_file(path))
        with publish.file(path) as stage:
            stage.write_bytes(layout.model)

    def save(self, folder: Path) -> None:
        """Write the model's files and ``graph.json`` into a folder.

        Raises:
            ModelError: E427 when the model is too large even without its weights.
        """
        card = _Card(scheme=self.scheme, tolerance=self.tolerance, table=self.table)
        weights.lay_out(self.model).write(folder / MODEL_FILE)
        (folder / "graph.json").write_text(card.model_dump_json())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; weights beside the model are mapped and outlive the folder.

        Raises:
            ModelError: E428 when they are missing or cut short.
        """
        card = _Card.model_validate_json((folder / "graph.json").read_bytes())
        return cls(weights.read(folder / MODEL_FILE), card.scheme, card.tolerance, card.table)


def _spec(value: ir.Value) -> TensorSpec:
    """Describe an input or output; a dynamic axis without a name is called after its place."""
    dtype = value.dtype.name.lower() if value.dtype is not None else "unknown"
    dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    if value.shape is None or dtype not in get_args(DType):
        raise ModelError(
            "E410",
            f"`{value.name}` has {'no rank' if value.shape is None else f'the type {dtype}'}",
            why="inputs and outputs must be plain tensors of a numpy type and a known rank",
            fix="export the model with typed tensors as its inputs and outputs",
        )
    return TensorSpec(
        name=value.name,
        dtype=dtype,
        shape=tuple(_axis(d, f"{value.name}_dim{i}") for i, d in enumerate(value.shape)),
    )


def _axis(size: Any, name: str) -> int | str:
    if isinstance(size, int):
        return size if size >= 0 else name
    return size.value or name
