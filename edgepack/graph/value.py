"""An ONNX model as edgepack hands it from pass to pass."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

from edgepack import publish
from edgepack.errors import ModelError
from edgepack.types import DType, Frozen, TensorSpec, Tolerance

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

FLOAT_TOLERANCE = Tolerance(exact=False, relative=1e-3, cosine=0.9999)
"""How far float arithmetic of another instruction set may stand from ours."""

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes that one protobuf message can hold."""


class _Card(Frozen):
    """What `graph.json` holds beside the model."""

    scheme: str
    tolerance: Tolerance


@dataclass(frozen=True, eq=False)
class Graph:
    """An ONNX model whose weights lie inside it.

    Attributes:
        model: the model in memory; whoever holds a Graph may read it, and edits a `copy`.
        scheme: how its weights are stored: ``float``, or what the quantize pass made of it.
        tolerance: how far a device may stand from this graph's own answers.
    """

    model: ir.Model
    scheme: str = "float"
    tolerance: Tolerance = FLOAT_TOLERANCE

    @classmethod
    def from_proto(
        cls,
        proto: onnx.ModelProto,
        *,
        scheme: str = "float",
        tolerance: Tolerance = FLOAT_TOLERANCE,
    ) -> Self:
        """Wrap a model of our own making; a foreign one goes through `gate.admit`."""
        import onnx_ir as ir

        return cls(ir.from_proto(proto), scheme, tolerance)

    @property
    def name(self) -> str:
        """The graph's own name, for messages."""
        return self.model.graph.name or "graph"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model is fed; weights are never among them."""
        weights = self.model.graph.initializers
        return tuple(_spec(v) for v in self.model.graph.inputs if v.name not in weights)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model answers."""
        return tuple(_spec(v) for v in self.model.graph.outputs)

    @property
    def digest(self) -> str:
        """SHA-256 of the file that `write` makes."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """Return parameters, bytes of the file, nodes, and how often each operator occurs."""
        nodes = list(self.model.graph.all_nodes())
        operators = Counter(f"{n.domain}.{n.op_type}".lstrip(".") for n in nodes)
        weights = [w for g in self.model.graphs() for w in g.initializers.values()]
        return {
            "parameters": sum(w.const_value.size for w in weights),
            "bytes": len(self._bytes()),
            "nodes": len(nodes),
            "operators": dict(sorted(operators.items())),
        }

    def proto(self) -> onnx.ModelProto:
        """Return the model as a new protobuf message.

        Weights get no value_info: it repeats them, and goes stale once they change.

        Raises:
            ModelError: E427 when the weights are more than one ONNX file can hold.
        """
        import onnx_ir as ir

        weights = [w for g in self.model.graphs() for w in g.initializers.values()]
        if sum(w.const_value.nbytes for w in weights) > PROTOBUF_LIMIT:
            raise _too_large(self.name)
        proto: onnx.ModelProto = ir.to_proto(self.model)
        named = {tensor.name for tensor in proto.graph.initializer}
        kept = [info for info in proto.graph.value_info if info.name not in named]
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(kept)
        return proto

    def copy(self) -> Self:
        """Return a graph that may be edited freely; the weights themselves are shared."""
        return replace(self, model=self.model.clone())

    def replace(
        self,
        *,
        model: ir.Model | None = None,
        scheme: str | None = None,
        tolerance: Tolerance | None = None,
    ) -> Self:
        """Return this graph with some of its parts exchanged."""
        return replace(
            self,
            model=self.model if model is None else model,
            scheme=self.scheme if scheme is None else scheme,
            tolerance=self.tolerance if tolerance is None else tolerance,
        )

    def write(self, path: Path) -> None:
        """Write the one ``.onnx`` file; the same graph always gives the same bytes."""
        with publish.file(path) as stage:
            stage.write_bytes(self._bytes())

    def save(self, folder: Path) -> None:
        """Write ``model.onnx`` and ``graph.json`` into a folder."""
        card = _Card(scheme=self.scheme, tolerance=self.tolerance)
        (folder / "model.onnx").write_bytes(self._bytes())
        (folder / "graph.json").write_text(card.model_dump_json())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        import onnx

        card = _Card.model_validate_json((folder / "graph.json").read_bytes())
        proto = onnx.load(folder / "model.onnx", load_external_data=False)
        return cls.from_proto(proto, scheme=card.scheme, tolerance=card.tolerance)

    def _bytes(self) -> bytes:
        try:
            data: bytes = self.proto().SerializeToString(deterministic=True)
        except ValueError as problem:  # beyond the weights, the message itself is too large
            raise _too_large(self.name) from problem
        return data


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


def _too_large(name: str) -> ModelError:
    return ModelError(
        "E427",
        f"`{name}` is larger than the 2 GiB that one ONNX file can hold",
        fix="choose a smaller model, or quantise it before it is exported",
    )
