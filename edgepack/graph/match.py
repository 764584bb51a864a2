"""What passes that recognise spelled-out operators ask of a graph, and how they replace them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir


def array(value: ir.Value | None) -> np.ndarray | None:
    """Return a constant of float32 that is no input of the graph."""
    tensor = value.const_value if value is not None and value.is_initializer() else None
    if value is None or tensor is None or value.is_graph_input() or tensor.dtype.name != "FLOAT":
        return None
    found: np.ndarray = tensor.numpy()
    return found


def scalar(value: ir.Value | None) -> float | None:
    """Return a constant of one number."""
    found = array(value)
    # An axis more than the activations have would change their shape, so rank 1 is the limit.
    if found is None or found.size != 1 or found.ndim > 1:
        return None
    return float(found.reshape(-1)[0])


def is_number(value: ir.Value | None, number: float) -> bool:
    """Whether a value is a constant close to a number, which exporters round to float32."""
    found = scalar(value)
    return found is not None and abs(found - number) <= 2e-6 * abs(number)


def producer(value: ir.Value | None, operator: str) -> ir.Node | None:
    """Return the node that gives a value, where it is of an operator."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == operator and not node.domain else None


def other(node: ir.Node, value: ir.Value | None) -> ir.Value | None:
    """Return the operand of a node of two that is not `value`; None where neither is it."""
    if value is None or len(node.inputs) != 2 or value not in node.inputs:
        return None
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def times(value: ir.Value | None, number: float) -> ir.Value | None:
    """Return what is multiplied by a number to give a value, or divided by its inverse."""
    if node := producer(value, "Div"):
        return node.inputs[0] if is_number(node.inputs[1], 1 / number) else None
    node = producer(value, "Mul")
    for operand in node.inputs if node else ():
        if node is not None and is_number(operand, number):
            return other(node, operand)
    return None


def plus(value: ir.Value | None, number: float) -> ir.Value | None:
    """Return what a number is added to, to give a value."""
    node = producer(value, "Add")
    for operand in node.inputs if node else ():
        if node is not None and is_number(operand, number):
            return other(node, operand)
    return None


def only_reader(value: ir.Value, operator: str) -> ir.Node | None:
    """Return the one node that reads a value, where it is of an operator in the same graph."""
    home = value.producer()
    if len(value.uses()) != 1 or value.is_graph_output() or home is None:
        return None
    (node,) = value.consumers()
    return (
        node if node.op_type == operator and not node.domain and node.graph is home.graph else None
    )


def replace(
    last: ir.Node,
    operator: str,
    inputs: Iterable[ir.Value | None],
    attributes: Mapping[str, object],
    domain: str = "",
) -> None:
    """Put one node in the place of the last of several; those that nothing reads go."""
    import onnx_ir as ir

    graph, old = last.graph, last.outputs[0]
    assert isinstance(graph, ir.Graph)
    node = ir.node(operator, list(inputs), dict(attributes), domain=domain, name=last.name)
    graph.insert_before(last, node)
    new = node.outputs[0]
    new.name, new.shape, new.type = old.name, old.shape, old.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    gone = [last]
    while gone:
        node = gone.pop()
        if node.graph is None or any(v.uses() or v.is_graph_output() for v in node.outputs):
            continue
        gone += [n for v in node.inputs if v is not None and (n := v.producer()) is not None]
        node.graph.remove(node, safe=True)


def put(value: ir.Value | None, array: np.ndarray) -> None:
    """Give a constant another value of its own; others that shared it keep theirs."""
    import numpy as np
    import onnx_ir as ir

    assert value is not None
    stored = np.ascontiguousarray(array, np.float32)
    value.const_value = ir.tensor(stored, name=value.name)
    if value.shape is None:
        value.shape, value.dtype = ir.Shape(stored.shape), ir.DataType.FLOAT


def drop_unused(graph: ir.Graph) -> None:
    """Drop the constants that only removed nodes read."""
    for name, value in list(graph.initializers.items()):
        if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
            del graph.initializers[name]
