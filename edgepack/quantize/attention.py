"""Writes attention that exporters spelled out as the one operator that ONNX Runtime has for it.

With heads of size d, and a mask that is 0 where a key is kept and very negative where it is not:

    softmax(x Wq (x Wk)^T / sqrt d + mask) x Wv  =  Attention(x, [Wq Wk Wv], [bq bk bv], kept)

`w8-dynamic` makes of it one integer product for query, key and value (QAttention) where there were
three, and no transposed copies. It is left alone unless its mask is shown to say nothing but which
keys are padding.

Source: Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgepack.graph import match
from edgepack.quantize.padding import Padding

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.base import Context
    from edgepack.graph import Graph
    from edgepack.types import Array

SPLIT, LIKE_KEYS, FLAT, SWAPPED = [0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1], [0, 1, 3, 2]
"""Orders of axes: heads before the sequence; keys turned, at once, flattened, or after that."""
DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class Projection:
    """A product with constant weights and bias that makes the heads of queries, keys or values.

    Attributes:
        product: its MatMul.
        weight: float32 [inputs, heads * size].
        bias: float32 [heads * size].
        heads, size: how many heads there are, and how many numbers each has.
    """

    product: ir.Node
    weight: Array
    bias: Array
    heads: int
    size: int

    @property
    def input(self) -> ir.Value | None:
        """What it projects."""
        value: ir.Value | None = self.product.inputs[0]
        return value


@dataclass(frozen=True)
class Block:
    """One attention that is spelled out.

    Attributes:
        parts: the projections to queries, keys and values.
        scale: what scores are multiplied by.
        mask: what is added to them.
        last: the node whose result is the attention's, [batch, sequence, heads * size].
    """

    parts: tuple[Projection, Projection, Projection]
    scale: float
    mask: ir.Value | None
    last: ir.Node


def fuse_attention(graph: Graph, keep: tuple[str, ...], context: Context) -> Graph:
    """Return the graph with each attention that qualifies as one operator, if its answers agree."""
    from edgepack.graph.checked import settled

    ours = graph.copy()
    padding = Padding(graph, context)
    applied: list[str] = []
    refused: dict[str, str] = {}
    for node in [n for n in ours.model.graph if n.op_type == "Softmax" and not n.domain]:
        found = _found(node, keep)
        if isinstance(found, str):
            refused[str(node.name)] = found
            continue
        kept = padding.kept(found.mask.name) if found.mask is not None else ""
        if kept is None:
            refused[str(node.name)] = "its mask is not shown to say only which keys are padding"
            continue
        applied.append(str(node.name))
        _write(ours, found, kept, f"{node.name}.attention")
    return settled(graph, ours, applied, refused, context)


def _found(softmax: ir.Node, keep: tuple[str, ...]) -> Block | str:
    """Return the attention around a softmax, or say why there is none."""
    axis = softmax.attributes.get("axis")
    if axis is not None and axis.as_int() not in {-1, 3}:
        return "its softmax is not over the last axis"
    scores, mask = _scores(softmax.inputs[0])
    if scores is None:
        return "its softmax is not of a product"
    product, scale = scores
    query, on_query = _scaled(product.inputs[0])
    key, on_key = _scaled(product.inputs[1])
    mixed = match.only_reader(softmax.outputs[0], "MatMul")
    if mixed is None or mixed.inputs[0] is not softmax.outputs[0]:
        return "its weights mix no values"
    turned = match.only_reader(mixed.outputs[0], "Transpose")
    last = match.only_reader(turned.outputs[0], "Reshape") if turned is not None else None
    if turned is None or last is None or _order(turned) != SPLIT:
        return "its heads are not laid side by side again"
    parts = [
        _projection(_heads(query)),
        _projection(_heads(_unturned(key))),
        _projection(_heads(mixed.inputs[1])),
    ]
    if any(part is None for part in parts):
        return "query, key or value is no product with constant weights"
    q, k, v = (part for part in parts if part is not None)
    if not (q.input is k.input is v.input) or q.input is None:
        return "query, key and value are not of the same input"
    if len({(p.heads, p.size) for p in (q, k, v)}) > 1:
        return "query, key and value differ in their heads"
    if any(_kept(p.product, keep) for p in (q, k, v)):
        return "the recipe keeps it"
    return Block((q, k, v), scale * on_query * on_key, mask, last)


def _scores(value: ir.Value | None) -> tuple[tuple[ir.Node, float] | None, ir.Value | None]:
    """Return the product of queries and keys with its factor, and the mask that is added to it."""
    if product := _product(value):
        return product, None
    add = match.producer(value, "Add")
    for operand in add.inputs if add is not None else ():
        if product := _product(operand):
            return product, match.other(add, operand) if add is not None else None
    return None, None


def _product(value: ir.Value | None) -> tuple[ir.Node, float] | None:
    inner, scale = _scaled(value)
    node = match.producer(inner, "MatMul")
    return (node, scale) if node is not None else None


def _scaled(value: ir.Value | None) -> tuple[ir.Value | None, float]:
    """Return what a constant number multiplies or divides to give a value, and the factor."""
    if node := match.producer(value, "Div"):
        number = match.scalar(node.inputs[1])
        return (node.inputs[0], 1 / number) if number else (value, 1.0)
    node = match.producer(value, "Mul")
    for operand in node.inputs if node is not None else ():
        number = match.scalar(operand)
        if node is not None and number is not None:
            return match.other(node, operand), number
    return value, 1.0


def _unturned(key: ir.Value | None) -> ir.Value | None:
    """Return the keys as [batch, heads, sequence, size], or what becomes them in one step."""
    turn = match.producer(key, "Transpose")
    if turn is not None and _order(turn) == SWAPPED:
        value: ir.Value | None = turn.inputs[0]
        return value
    # [batch, heads, sequence, size] flattened to three axes, turned, and folded back
    fold = match.producer(key, "Reshape")
    turn = match.producer(fold.inputs[0], "Transpose") if fold is not None else None
    flat = match.producer(turn.inputs[0], "Reshape") if turn is not None else None
    if turn is not None and flat is not None and _order(turn) == FLAT:
        return flat.inputs[0]
    return key


def _heads(value: ir.Value | None) -> ir.Node | None:
    """Return the Reshape that tells heads apart, where heads were then put before the sequence."""
    turn = match.producer(value, "Transpose")
    if turn is None or _order(turn) not in (SPLIT, LIKE_KEYS):
        return None
    return match.producer(turn.inputs[0], "Reshape")


def _projection(reshape: ir.Node | None) -> Projection | None:
    shape = reshape.outputs[0].shape if reshape is not None else None
    if reshape is None or shape is None or len(shape) != 4:
        return None
    size = shape[3]
    if not isinstance(size, int):
        return None
    value, factor = _scaled(reshape.inputs[0])
    bias = None
    if add := match.producer(value, "Add"):
        bias = next((a for v in add.inputs if (a := match.array(v)) is not None), None)
        value = next((v for v in add.inputs if match.array(v) is None), None)
        if bias is None:
            return None
    product = match.producer(value, "MatMul")
    weight = match.array(product.inputs[1]) if product is not None else None
    if product is None or weight is None or weight.ndim != 2 or weight.shape[1] % size:
        return None
    columns = weight.shape[1]
    bias = np.zeros(columns, np.float32) if bias is None else bias
    if bias.shape != (columns,):
        return None
    stretch = np.float32(factor)
    return Projection(product, weight * stretch, bias * stretch, columns // size, size)


def _write(graph: Graph, block: Block, kept: str, name: str) -> None:
    """Put an Attention in the place of a block; `kept` names the input that says which keys are."""
    import onnx_ir as ir

    inner = graph.model.graph
    q, k, v = block.parts
    stretch = np.float32(block.scale * math.sqrt(q.size))  # Attention divides by sqrt(size)
    arrays = {
        "weight": np.concatenate([q.weight * stretch, k.weight, v.weight], axis=1),
        "bias": np.concatenate([q.bias * stretch, k.bias, v.bias]),
    }
    held = []
    for part, array in arrays.items():
        value = ir.Value(name=f"{name}.{part}", const_value=ir.tensor(array, name=f"{name}.{part}"))
        inner.register_initializer(value)
        held.append(value)
    mask = _mask(graph, kept) if kept else None
    match.replace(
        block.last, "Attention", [q.input, *held, mask], {"num_heads": q.heads}, domain=DOMAIN
    )
    graph.model.opset_imports.setdefault(DOMAIN, 1)


def _mask(graph: Graph, kept: str) -> ir.Value:
    """Return an input of the graph as int32; the node that makes it so is there once."""
    import onnx_ir as ir

    name = f"{kept}.int32"
    inner = graph.model.graph
    for node in inner:
        if node.outputs[0].name == name:
            return node.outputs[0]
    source = next(value for value in inner.inputs if value.name == kept)
    cast = ir.node("Cast", [source], {"to": ir.DataType.INT32}, name=name)
    cast.outputs[0].name = name
    cast.outputs[0].type = ir.TensorType(ir.DataType.INT32)
    cast.outputs[0].shape = source.shape
    inner.insert_before(inner[0], cast)
    return cast.outputs[0]


def _order(node: ir.Node) -> list[int]:
    attribute = node.attributes.get("perm")
    return list(attribute.as_ints()) if attribute is not None else []


def _kept(node: ir.Node, keep: tuple[str, ...]) -> bool:
    from fnmatch import fnmatch

    return any(fnmatch(str(node.name), pattern) for pattern in keep)
