"""Embedding tables in 8 bits: rows are gathered as integers and scaled after.

A table behind DequantizeLinear would be expanded whole in every run; gathered first, only the rows
that are asked for are. Cast and Mul scale them in a third of the time of a DequantizeLinear with a
scale a column.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgepack.quantize.survey import float_weights, kept
from edgepack.quantize.weights import to_int8
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

WORTHWHILE = 1 << 16
"""Elements below which a table is not worth another node."""


class EmbeddingPlan(Frozen):
    """Names of the tables that are stored in 8 bits."""

    embeddings: tuple[str, ...]


def plan_embeddings(proto: onnx.ModelProto, keep: tuple[str, ...] = ()) -> EmbeddingPlan:
    """Take large float matrices that are read by nothing but Gather, row by row.

    A table stays float where the recipe keeps one of its readers by name.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    returned = {value.name for value in proto.graph.output}
    return EmbeddingPlan(
        embeddings=tuple(
            name
            for name, table in float_weights(proto).items()
            if len(table.dims) == 2
            and math.prod(table.dims) >= WORTHWHILE
            and name not in returned
            and readers.get(name)
            and all(_gathers_rows(node, name) and not kept(node, keep) for node in readers[name])
        )
    )


def quantize_embeddings(proto: onnx.ModelProto, plan: EmbeddingPlan) -> None:
    """Store the planned tables in int8, one scale a column, in place."""
    from onnx import helper, numpy_helper

    tables = float_weights(proto)
    for name in plan.embeddings:
        q = to_int8(numpy_helper.to_array(tables[name]), 1, signed=True, narrow=False)
        for end, part in {"q8": q.values, "scale": q.scale}.items():
            proto.graph.initializer.append(numpy_helper.from_array(part, f"{name}.{end}"))
    nodes = []
    for node in proto.graph.node:
        nodes.append(node)
        if node.op_type == "Gather" and (name := node.input[0]) in plan.embeddings:
            rows, node.input[0], node.output[0] = (
                node.output[0],
                f"{name}.q8",
                f"{node.output[0]}.rows",
            )
            floats = f"{rows}.float"
            nodes += [
                helper.make_node(
                    "Cast", [node.output[0]], [floats], name=f"{node.name}.Cast", to=1
                ),
                helper.make_node("Mul", [floats, f"{name}.scale"], [rows], name=f"{node.name}.Mul"),
            ]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def _gathers_rows(node: onnx.NodeProto, table: str) -> bool:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == table and axis == 0
