"""Puts one operator in the place of several that spell it out: what such rewrites share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgepack.base import Context
from edgepack.graph import match
from edgepack.graph.checked import settled

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.graph import Graph


@dataclass(frozen=True)
class Spelling:
    """What one operator is to stand for.

    Attributes:
        inputs: of the operator.
        last: the node whose result is the operator's.
        attributes: of the operator.
    """

    inputs: tuple[ir.Value, ...]
    last: ir.Node
    attributes: Mapping[str, object] = field(default_factory=dict)


def contract(
    graph: Graph,
    context: Context,
    operator: str,
    since: int,
    roots: frozenset[str],
    find: Callable[[ir.Node], Spelling | str],
) -> Graph:
    """Return the graph with each spelling as one operator, if its answers agree.

    Args:
        graph: left as it is.
        context: runs both.
        operator: what is put in place.
        since: the opset that has it.
        roots: operators that every spelling holds one of.
        find: returns the spelling around such a node, or says why there is none.
    """
    opset, ours = graph.model.opset_imports[""], graph.copy()
    applied: list[str] = []
    refused: dict[str, str] = {}
    for node in list(ours.model.graph):
        if node.op_type not in roots or node.domain:
            continue
        found = find(node)
        if isinstance(found, str):
            refused[str(node.name)] = found
        elif opset < since:
            refused[str(node.name)] = f"{operator} is of opset {since}, and the graph of {opset}"
        else:
            applied.append(str(node.name))
            match.replace(found.last, operator, found.inputs, found.attributes)
    return settled(graph, ours, applied, refused, context)
