"""What every scheme does before and after its edit, in child processes and in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepack.base import Context
from edgepack.child import ChildError, call
from edgepack.errors import ModelError
from edgepack.graph import Graph, weights

if TYPE_CHECKING:
    import onnx


def prepared(graph: Graph, context: Context) -> onnx.ModelProto:
    """Return the graph with constants as weights, named nodes and inferred shapes."""
    weights.lay_out(graph.model, "prepare-in.onnx").write(context.work / "prepare-in.onnx")
    return in_child(context, "prepare")


def in_child(context: Context, function: str, **arguments: Any) -> onnx.ModelProto:
    """Run a function of the worker on ``FUNCTION-in.onnx`` and return the model it writes."""
    source, destination = context.work / f"{function}-in.onnx", context.work / f"{function}.onnx"
    files = {"source": str(source), "destination": str(destination)}
    try:
        call(f"edgepack.quantize.worker:{function}", {**files, **arguments})
    except ChildError as problem:
        raise ModelError(
            "E454",
            f"the model cannot be quantised: `{function}` failed",
            why=problem.detail,
            fix='choose scheme = "float", or keep the node that the message names: keep = [...]',
        ) from problem
    return weights.load_proto(destination)


def _read(graph: onnx.GraphProto) -> set[str]:
    """Return every name that a graph or one inside it reads or answers."""
    names = {value.name for value in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names |= _read(attribute.g)
    return names


def tidy(proto: onnx.ModelProto, original: Graph) -> None:
    """Drop weights that nothing reads, stale shapes, and what tools wrote about themselves."""
    graph = proto.graph
    read = _read(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(copies)
    before = original.model
    del proto.metadata_props[:]
    for key, value in before.metadata_props.items():
        proto.metadata_props.add(key=key, value=value)
    proto.producer_name = before.producer_name or ""
    proto.producer_version = before.producer_version or ""
