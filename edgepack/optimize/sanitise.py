"""Removes what a model does not need to run: stale shapes, traces, doubled and unused weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from edgepack.base import Context, GraphPass
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.graph import Graph


class Sanitised(Frozen):
    """How much was removed or renamed."""

    shapes: int
    notes: int
    unused: int
    shared: int
    renamed: int


class Sanitise(GraphPass):
    """Remove recorded shapes, build paths, stack traces, and unused or doubled initializers.

    What the graph computes, and under which names it is fed and answers, stays to the bit.
    """

    name: ClassVar[str] = "sanitise"

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph without what does not matter to run it."""
        from edgepack.graph.sharing import share_equal

        ours = graph.copy()
        model = ours.model
        decision = Sanitised(
            shapes=_forget_shapes(model),
            notes=_forget_notes(model),
            shared=share_equal(model.graph),
            unused=sum(_drop_unused(g) for g in model.graphs()),
            renamed=_name_nodes(model),
        )
        context.events.decision(decision)
        return ours


def _forget_shapes(model: ir.Model) -> int:
    """Forget types and shapes of inner values: they go stale, and are inferred where needed."""
    count = 0
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if not value.is_graph_output() and (value.shape or value.type):
                value.shape = value.type = None
                count += 1
    return count


def _forget_notes(model: ir.Model) -> int:
    """Clear doc strings and metadata wherever they hang, and who made the model."""
    values = [v for g in model.graphs() for v in (*g.inputs, *g.initializers.values())]
    nodes = list(model.graph.all_nodes())
    holders = [model, *model.graphs(), *nodes, *values, *(v for n in nodes for v in n.outputs)]
    count = 0
    for holder in holders:
        count += len(holder.metadata_props) + bool(holder.doc_string)
        holder.metadata_props.clear()
        holder.doc_string = None
    model.producer_name = model.producer_version = model.domain = None
    model.model_version = None
    return count


def _drop_unused(graph: ir.Graph) -> int:
    unused = [
        name
        for name, value in graph.initializers.items()
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input()
    ]
    for name in unused:
        del graph.initializers[name]
    return len(unused)


def _name_nodes(model: ir.Model) -> int:
    """Name nodes that have no name or another's after their operator and place."""
    nodes = list(model.graph.all_nodes())
    taken = {node.name for node in nodes}
    seen: set[str] = set()
    count = 0
    for index, node in enumerate(nodes):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
            count += 1
        seen.add(node.name)
    return count
