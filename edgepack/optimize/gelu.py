"""Writes GELUs that exporters spelled out as the one operator that they are.

    x / 2 (1 + erf(x / sqrt 2))                              = Gelu(x)
    x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))        = Gelu(x, approximate = "tanh")

Source: Hendrycks and Gimpel, Gaussian Error Linear Units, arXiv:1606.08415.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from edgepack.base import Context, GraphPass
from edgepack.graph import match
from edgepack.optimize.spelled import Spelling, contract

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.graph import Graph

SINCE = 20
ROOTS = frozenset({"Erf", "Tanh"})


class Gelu(GraphPass):
    """Write GELUs that are spelled out, with erf or with tanh, as Gelu.

    For other runtimes, and smaller graphs: MiniLM lost 24 of its 398 nodes. It is off unless
    asked for, as ONNX Runtime fuses the same nodes when it loads a model, and is no faster.
    """

    name: ClassVar[str] = "gelu"

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with its spelled-out GELUs as one operator each."""
        return contract(graph, context, "Gelu", SINCE, ROOTS, _found)


def _found(node: ir.Node) -> Spelling | str:
    """Return a GELU around an error function or a tangent, or say why there is none."""
    how = {"approximate": "tanh" if node.op_type == "Tanh" else "none"}
    x = match.times(node.inputs[0], math.sqrt(0.5)) if node.op_type == "Erf" else _cubed(node)
    if x is None:
        return "its input is not the one of a GELU"
    add = match.only_reader(node.outputs[0], "Add")
    if add is None or match.plus(add.outputs[0], 1.0) is not node.outputs[0]:
        return "1 is not added to it, or it is read by others"
    first = match.only_reader(add.outputs[0], "Mul")
    factor = match.other(first, add.outputs[0]) if first is not None else None
    if first is None or factor is None:
        return "the sum is not multiplied, or it is read by others"
    if match.times(factor, 0.5) is x:
        return Spelling((x,), first, how)
    last = match.only_reader(first.outputs[0], "Mul")
    second = match.other(last, first.outputs[0]) if last is not None else None
    if last is not None and (
        (factor is x and match.is_number(second, 0.5))
        or (second is x and match.is_number(factor, 0.5))
    ):
        return Spelling((x,), last, how)
    return "the sum is not multiplied by half of the input"


def _cubed(tanh: ir.Node) -> ir.Value | None:
    """Return x, where a tangent is of sqrt(2 / pi) (x + 0.044715 x^3)."""
    add = match.producer(match.times(tanh.inputs[0], math.sqrt(2 / math.pi)), "Add")
    for operand in add.inputs if add is not None else ():
        x = match.other(add, operand) if add is not None else None
        cube = match.times(operand, 0.044715)
        if power := match.producer(cube, "Pow"):
            if power.inputs[0] is x and match.is_number(power.inputs[1], 3.0):
                return x
        elif product := match.producer(cube, "Mul"):
            square = match.producer(match.other(product, x), "Mul")
            if square is not None and all(v is x for v in square.inputs):
                return x
    return None
