"""Moves outliers of activations into weights, which have scales of their own to take them.

With S a diagonal matrix of positive numbers, x W = (x S^-1) (S W). One scale serves all channels of
x, so that a channel a hundred times as wide as the others leaves these hardly a level, while W
has a scale for each of its columns, and in each column all of S. With a in [0, 1]

    s = max|x| ^ a / max|w| ^ (1 - a)      for each channel

The division costs nothing where what makes x can do it: a normalisation's gain and bias, or the
layer before. Each s is a power of two, so that float answers do not change by a bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from edgepack.base import Context, GraphPass
from edgepack.errors import ModelError
from edgepack.graph import Graph, match
from edgepack.graph.checked import settled
from edgepack.quantize.outliers import best_scale, observe
from edgepack.types import Split

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.types import Array

PRODUCTS = {"MatMul", "Gemm"}
ELEMENTWISE = {"Relu", "LeakyRelu"}
"""Operators that give c times as much for c times as much, c > 0."""


@dataclass(frozen=True)
class Site:
    """A tensor, the products that take it, and the constants whose division divides it.

    Attributes:
        value: the tensor, channels last.
        products: nodes whose first operand it is and whose second is constant.
        constants: nothing where a node of its own must divide.
        why: reason for that.
    """

    value: ir.Value
    products: tuple[ir.Node, ...]
    constants: tuple[ir.Value, ...] = ()
    why: str = ""


class Smooth(GraphPass):
    """Move outliers of activations into weights, for the accuracy of `w8a8-static`.

    A power of two for each channel is divided out of what matrix products take and multiplied into
    their weights. Where nothing before can take the division, a product is left alone, or a
    multiplication of its own is put in (`insert`).

    Source: Xiao et al., SmoothQuant, arXiv:2211.10438, section 4.
    """

    name: ClassVar[str] = "smooth"
    needs: ClassVar[frozenset[Split]] = frozenset({"calibration"})
    reads: ClassVar[frozenset[Split]] = frozenset({"calibration"})

    alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how much of the outliers moves into the weights; where it is left out, what "
        "lets each product err least, nothing among it",
    )
    insert: bool = Field(False, description="multiply where no layer before can take the division")
    samples: int = Field(128, ge=1, description="most samples that are looked at")

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with outliers in the weights where that pays.

        Raises:
            ModelError: E485 without real calibration data.
        """
        if context.data["calibration"].generated:
            raise ModelError(
                "E485",
                "`smooth` needs calibration data",
                why="the calibration samples were made up, and so would be the outliers",
                fix='add `calibration = "..."` under [data], or leave `smooth` out',
            )
        if graph.scheme != "float":
            return settled(graph, graph, (), {"graph": "it is quantised"}, context)
        ours = graph.copy()
        sites = {str(site.value.name): site for site in _sites(ours)}
        refused = {n: s.why for n, s in sites.items() if s.why and not self.insert}
        wanted = [name for name in sites if name not in refused]
        applied = []
        for name, seen in observe(graph, wanted, self.samples, context).items():
            site = sites[name]
            scale = best_scale(seen, _joined(site), self.alpha, free=bool(site.constants))
            if np.all(scale == 1):
                refused[name] = "no division would lower the error enough"
                continue
            _move(site, scale)
            applied.append(name)
        return settled(graph, ours, applied, refused, context)


def _sites(graph: Graph) -> Iterator[Site]:
    """Yield every tensor that products with weights of their own take."""
    readers: dict[ir.Value, list[ir.Node]] = {}
    for node in graph.model.graph:
        value = node.inputs[0] if node.op_type in PRODUCTS and not node.domain else None
        if value is not None and _weight(node) is not None:
            readers.setdefault(value, []).append(node)
    for value, products in readers.items():
        constants = _constants(value, products)
        if isinstance(constants, str):
            yield Site(value, tuple(products), why=constants)
        else:
            yield Site(value, tuple(products), constants)


def _weight(node: ir.Node) -> Array | None:
    """Return the weight of a product as [in, out] where it may change."""
    value = node.inputs[1]
    weight = match.array(value)
    turned = node.attributes.get("transA")
    if weight is None or value is None or weight.ndim != 2 or len(value.uses()) > 1:
        return None
    if turned is not None and turned.as_int():
        return None
    return weight.T if _transposed(node) else weight


def _transposed(node: ir.Node) -> bool:
    attribute = node.attributes.get("transB")
    return attribute is not None and bool(attribute.as_int())


def _joined(site: Site) -> Array:
    """Return the weights of all products of a site beside each other, [in, out]."""
    return np.concatenate([w for n in site.products if (w := _weight(n)) is not None], axis=1)


def _constants(value: ir.Value, products: Sequence[ir.Node]) -> tuple[ir.Value, ...] | str:
    """Return the constants that hold a tensor's scale; say why not where none do."""
    if value.is_graph_output() or len(value.uses()) > len(products):
        return "others read what would be divided"
    found: list[ir.Value] = []
    inner: ir.Value | None = value
    while inner is not None and (node := inner.producer()) is not None and not node.domain:
        if inner is not value and (inner.is_graph_output() or len(inner.uses()) > 1):
            return "others read what would be divided"
        own = [v for v in node.inputs[1:] if v is not None]
        if node.op_type == "LayerNormalization" and all(map(_divisible, own)):
            return (*found, *own)
        if node.op_type in PRODUCTS and _weight(node) is not None and all(map(_divisible, own)):
            return "the layer before it holds its scale: `equalise` evens it out"
        if node.op_type in ELEMENTWISE:
            inner = node.inputs[0]
            continue
        constant = next((v for v in node.inputs if _divisible(v)), None)
        if node.op_type not in {"Add", "Mul"} or constant is None:
            return f"`{node.op_type}` cannot take the division"
        found.append(constant)
        if node.op_type == "Mul":
            return tuple(found)
        inner = match.other(node, constant)
    return "nothing before it can take the division"


def _divisible(value: ir.Value | None) -> bool:
    """Whether a value is a constant with a number for each of the last axis, read once."""
    array = match.array(value)
    if array is None or value is None or len(value.uses()) != 1:
        return False
    return array.ndim > 0 and array.size == array.shape[-1] > 1


def _move(site: Site, scale: Array) -> None:
    """Divide a site's tensor by a scale, and multiply the weights that take it."""
    import onnx_ir as ir

    for constant in site.constants:
        array = match.array(constant)
        assert array is not None
        match.put(constant, array / scale)
    for node in site.products:
        weight = _weight(node)
        assert weight is not None
        scaled = weight * scale[:, None]
        match.put(node.inputs[1], scaled.T if _transposed(node) else scaled)
    if site.constants:
        return
    first = site.products[0]
    graph = first.graph
    assert isinstance(graph, ir.Graph)
    name = f"{site.value.name}_smooth"
    factor = ir.Value(name=name)
    match.put(factor, 1 / scale)
    graph.initializers.add(factor)
    multiply = ir.node("Mul", [site.value, factor], name=name)
    graph.insert_before(first, multiply)
    divided = multiply.outputs[0]
    divided.name, divided.shape, divided.type = f"{name}d", site.value.shape, site.value.type
    for node in site.products:
        node.replace_input_with(0, divided)
