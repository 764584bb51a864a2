"""Cuts a graph short, or lays its inner tensors open: how two graphs are compared from inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from edgepack.graph.value import Graph

if TYPE_CHECKING:
    import onnx_ir as ir

SCALED = {"QuantizeLinear", "DequantizeLinear"}
FUSED = {"Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Identity"}
"""What runtimes put into the kernel before it."""


class Layer(NamedTuple):
    """A tensor inside a graph, and the node that a person would name for it.

    Attributes:
        tensor: its name.
        node: name of the node whose work it is; for a quantised tensor what was quantised.
        operator: of that node.
    """

    tensor: str
    node: str
    operator: str


def layers(graph: Graph) -> tuple[Layer, ...]:
    """Return the tensors that the inputs decide, in the order in which they are computed."""
    return tuple(_layer(value) for value in _computed(_ordered(graph)))


def cuts(graph: Graph) -> tuple[Layer, ...]:
    """Return the layers at which a graph can be cut without computing otherwise than it does whole.

    Between DequantizeLinear and QuantizeLinear a runtime makes one integer kernel of what is
    written there in floats; a cut inside would take that kernel apart.
    """
    values = (
        v for v in _computed(_ordered(graph)) if _op(v) != "DequantizeLinear" and not _inside(v)
    )
    return tuple(_layer(value) for value in values)


def exposed(graph: Graph, tensors: Sequence[str]) -> Graph:
    """Return the graph with inner tensors among its outputs."""
    ours = _ordered(graph).copy()
    present = {value.name for value in ours.model.graph.outputs}
    values = _by_name(ours)
    ours.model.graph.outputs.extend(values[name] for name in tensors if name not in present)
    return ours


def prefix(graph: Graph, tensor: str) -> Graph:
    """Return what of a graph runs up to a tensor, that node included.

    It answers the tensor and all others made by then that the rest of the graph still reads, so
    that a difference on any branch shows. Inputs stay, even those that nothing reads any more.

    Raises:
        KeyError: when no node of the main graph makes the tensor.
    """
    from onnx_ir.passes import common

    ours = _ordered(graph).copy()
    inner = ours.model.graph
    place: dict[str | None, int] = {
        name: index for index, name in enumerate(cut.tensor for cut in cuts(ours))
    }
    values = _by_name(ours)
    kept = [values[tensor]]
    for name in islice(place, place.get(tensor, 0)):
        if _read_beyond(values[name], place, place[tensor]):
            kept.append(values[name])
    inner.outputs.clear()
    inner.outputs.extend(kept)
    common.RemoveUnusedNodesPass()(ours.model)
    return ours


def _read_beyond(value: ir.Value, place: dict[str | None, int], here: int) -> bool:
    """Whether a tensor is an output, or feeds a cut that lies behind the one named `here`."""
    if value.is_graph_output():
        return True
    seen: set[int] = set()
    ahead = [output for node in value.consumers() for output in node.outputs]
    while ahead:
        output = ahead.pop()
        if id(output) in seen:
            continue
        seen.add(id(output))
        if output.name in place:
            if place[output.name] > here:
                return True
        elif output.is_graph_output():
            return True
        else:  # inside a kernel: look on to where it ends
            ahead += [o for node in output.consumers() for o in node.outputs]
    return False


def _computed(graph: Graph) -> Iterator[ir.Value]:
    """Yield the values that depend on an input; constants and empty places are left out."""
    inner = graph.model.graph
    moved = {id(value) for value in inner.inputs if value.name not in inner.initializers}
    for node in inner:
        reads = [*node.inputs, *(v for g in node.attributes.values() for v in _outer(g))]
        if any(value is not None and id(value) in moved for value in reads):
            for value in node.outputs:
                moved.add(id(value))
                if value.name and (value.uses() or value.is_graph_output()):
                    yield value


def _outer(attribute: ir.Attr) -> Iterator[ir.Value]:
    """Yield what the nodes of a subgraph read, from outside as well."""
    import onnx_ir as ir

    graphs = [attribute.value] if attribute.type == ir.AttributeType.GRAPH else []
    graphs += list(attribute.value) if attribute.type == ir.AttributeType.GRAPHS else []
    for graph in graphs:
        for node in graph.all_nodes():
            yield from (value for value in node.inputs if value is not None)


def _inside(value: ir.Value) -> bool:
    """Whether a float tensor lies inside an integer kernel, on its way to a QuantizeLinear."""
    while not value.is_graph_output() and (readers := value.consumers()):
        if len(readers) > 1:
            return False
        if readers[0].op_type == "QuantizeLinear":
            return True
        if readers[0].op_type not in FUSED or len(readers[0].outputs) != 1:
            return False
        value = readers[0].outputs[0]
    return False


def _op(value: ir.Value) -> str:
    node = value.producer()
    return node.op_type if node else ""


def _layer(value: ir.Value) -> Layer:
    node = value.producer()
    assert node is not None
    tensor = value.name or ""
    while node.op_type in SCALED | FUSED and node.inputs and node.inputs[0] is not None:
        before = node.inputs[0].producer()
        if before is None:
            break
        if node.op_type not in SCALED and before.op_type in SCALED:
            break
        node = before
    return Layer(tensor, node.name or tensor, node.op_type)


def _ordered(graph: Graph) -> Graph:
    """Return the graph with its nodes behind those that they read, as quantisers leave them not."""
    made = {id(v) for node in graph.model.graph for v in node.outputs}
    for node in graph.model.graph:
        if any(id(value) in made for value in node.inputs):
            break
        made -= {id(value) for value in node.outputs}
    else:
        return graph
    ours = graph.replace(model=Graph.from_proto(graph.proto()).model)
    ours.model.graph.sort()
    return ours


def _by_name(graph: Graph) -> dict[str | None, ir.Value]:
    return {v.name: v for node in graph.model.graph for v in node.outputs}
