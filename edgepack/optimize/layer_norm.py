"""Writes layer norms that exporters spelled out as the one operator that they are.

With the mean over the trailing axes from ``axis`` on,  d = x - mean(x):

    d / sqrt(mean(d^2) + epsilon) * gamma + beta = LayerNormalization(x, gamma, beta)

Source: Ba, Kiros and Hinton, Layer Normalization, arXiv:1607.06450.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from edgepack.base import Context, GraphPass
from edgepack.graph import match
from edgepack.optimize.spelled import Spelling, contract

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.graph import Graph

SINCE = 17
ROOTS = frozenset({"Sqrt"})


class LayerNorm(GraphPass):
    """Write layer norms that are spelled out as LayerNormalization.

    For other runtimes, and smaller graphs: MiniLM lost 91 of its 398 nodes. It is off unless
    asked for, as ONNX Runtime fuses the same nodes when it loads a model, and is no faster.
    """

    name: ClassVar[str] = "layer-norm"

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with its spelled-out layer norms as one operator each."""
        return contract(graph, context, "LayerNormalization", SINCE, ROOTS, _found)


def _found(root: ir.Node) -> Spelling | str:
    """Return the layer norm that a root is part of, or say why there is none."""
    added = _epsilon(root.inputs[0])
    if added is None:
        return "no constant is added to its input"
    variance, epsilon = added
    mean = match.producer(variance, "ReduceMean")
    centred = _squared(mean.inputs[0]) if mean is not None else None
    sub = match.producer(centred, "Sub")
    average = match.producer(sub.inputs[1], "ReduceMean") if sub is not None else None
    if mean is None or sub is None or average is None or average.inputs[0] is not sub.inputs[0]:
        return "it is not the root of a variance"
    axes = _axes(mean, average.inputs[0])
    if not axes or axes != _axes(average, average.inputs[0]) or axes != list(range(axes[0], 0)):
        return "the means are not over the same trailing axes, counted from the end and kept"
    divide = match.only_reader(root.outputs[0], "Div")
    if (
        divide is None
        or not _same(divide.inputs[0], sub)
        or divide.inputs[1] is not root.outputs[0]
    ):
        return "it does not divide what the variance is of, or it is read by others"
    x, mul = sub.inputs[0], match.only_reader(divide.outputs[0], "Mul")
    gamma = match.other(mul, divide.outputs[0]) if mul is not None else None
    if x is None or mul is None or gamma is None or not _fits(gamma, x, len(axes)):
        return "no constant of the normalised shape follows as a factor"
    how = {"axis": axes[0], "epsilon": epsilon}
    shift = match.only_reader(mul.outputs[0], "Add")
    beta = match.other(shift, mul.outputs[0]) if shift is not None else None
    if shift is None or beta is None or not _fits(beta, x, len(axes), gamma):
        return Spelling((x, gamma), mul, how)
    return Spelling((x, gamma, beta), shift, how)


def _epsilon(value: ir.Value | None) -> tuple[ir.Value, float] | None:
    """Return what a number is added to, and the number, which is 0 where there is no sum."""
    add = match.producer(value, "Add")
    if add is None:
        return (value, 0.0) if value is not None else None
    for operand in add.inputs:
        number, variance = match.array(operand), match.other(add, operand)
        if number is not None and number.size == 1 and variance is not None:
            return variance, float(number.reshape(-1)[0])
    return None


def _squared(value: ir.Value | None) -> ir.Value | None:
    """Return what is squared to give a value."""
    if power := match.producer(value, "Pow"):
        return power.inputs[0] if match.is_number(power.inputs[1], 2.0) else None
    product = match.producer(value, "Mul")
    if product is None or product.inputs[0] is not product.inputs[1]:
        return None
    return product.inputs[0]


def _same(value: ir.Value | None, sub: ir.Node) -> bool:
    """Whether a value is a difference, or the same difference taken once more."""
    twin = match.producer(value, "Sub")
    return twin is not None and (twin is sub or list(twin.inputs) == list(sub.inputs))


def _axes(mean: ir.Node, x: ir.Value | None) -> list[int]:
    """Return the axes of a mean, counted from the end of x; nothing where they are unknown."""
    keep = mean.attributes.get("keepdims")
    if keep is not None and not keep.as_int():
        return []
    given = mean.inputs[1] if len(mean.inputs) > 1 else None
    tensor = given.const_value if given is not None and not given.is_graph_input() else None
    attribute = mean.attributes.get("axes")
    if tensor is None and attribute is None:
        return []
    axes = tensor.numpy().tolist() if tensor is not None else list(attribute.as_ints())
    shape = x.shape if x is not None else None
    if any(axis >= 0 for axis in axes):
        if shape is None:
            return []
        axes = [axis - len(shape) if axis >= 0 else axis for axis in axes]
    return sorted(axes)


def _fits(value: ir.Value, x: ir.Value, axes: int, alike: ir.Value | None = None) -> bool:
    """Whether a constant has the shape of the trailing axes of x, as far as that is known."""
    found = match.array(value)
    if found is None or found.ndim != axes:
        return False
    if alike is not None:
        twin = match.array(alike)
        return twin is not None and twin.shape == found.shape
    known = list(x.shape)[-axes:] if x.shape is not None else []
    if all(isinstance(n, int) for n in known) and known:
        return tuple(known) == found.shape
    # One number for each would be a constant of size 1 where nothing shows how many there are.
    return all(n > 1 for n in found.shape)
