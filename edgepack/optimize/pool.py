"""Writes the mean over a picture as the pooling operator that runtimes have integer kernels for.

For x of shape [N, C, H, W]:  ReduceMean(x, axes = [2, 3]) = GlobalAveragePool(x),  and without
``keepdims`` the two trailing axes of length 1 are squeezed away. Both divide the same sum by H * W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from edgepack.base import Context, GraphPass
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.graph import Graph

KEEPS_RANK = frozenset({
    "Add", "BatchNormalization", "Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "MaxPool", "Mul",
    "Relu", "Sigmoid", "AveragePool",
})  # fmt: skip
"""Operators whose output has the rank of their first input, as they stand in convnets."""


class Pooled(Frozen):
    """Means that become a pooling, and those that stay with the reason."""

    pooled: tuple[str, ...]
    kept: dict[str, str]


class MeanToPool(GraphPass):
    """Write means over a picture's height and width as GlobalAveragePool.

    The integer form of a mean has no kernel in ONNX Runtime, and a float one in the midst of an
    int8 network costs two conversions and bit-exactness between processors.
    """

    name: ClassVar[str] = "mean-to-pool"

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with its means over pictures as poolings."""
        means = [n for n in graph.model.graph.all_nodes() if n.op_type == "ReduceMean"]
        refusals = {str(node.name): _refusal(node) for node in means}
        pooled = tuple(name for name, why in refusals.items() if not why)
        kept = {name: why for name, why in refusals.items() if why}
        context.events.decision(Pooled(pooled=pooled, kept=kept))
        if not pooled:
            return graph
        ours = graph.copy()
        for node in list(ours.model.graph.all_nodes()):
            if node.op_type == "ReduceMean" and node.name in pooled:
                _edit(node)
        return ours


def _refusal(node: ir.Node) -> str:
    """Say why a mean stays; nothing where it is one over a picture."""
    axes = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] else None
    if axes is not None:
        found = sorted(axes.numpy().tolist())
    else:
        attribute = node.attributes.get("axes")
        found = sorted(attribute.as_ints()) if attribute is not None else []
    if found not in ([2, 3], [-2, -1]):
        return f"it is over axes {found}, not over height and width"
    if not _is_picture(node.inputs[0]):
        return "nothing shows that its input is a batch of pictures"
    return ""


def _is_picture(value: ir.Value | None) -> bool:
    """Whether a value comes from a two-dimensional convolution, so that its rank is 4."""
    for _ in range(64):
        node = value.producer() if value is not None else None
        if node is None:
            return False
        if node.op_type == "Conv":
            weight = node.inputs[1]
            shape = weight.shape if weight is not None else None
            return shape is not None and len(shape) == 4
        if node.op_type not in KEEPS_RANK:
            return False
        value = node.inputs[0]
    return False


def _edit(node: ir.Node) -> None:
    import numpy as np
    import onnx_ir as ir

    graph, result = node.graph, node.outputs[0]
    assert graph is not None
    keep = node.attributes.get("keepdims")
    pool = ir.node("GlobalAveragePool", [node.inputs[0]], name=node.name)
    new, added = pool.outputs[0], [pool]
    if keep is not None and keep.as_int() == 0:
        axes = ir.Value(name=f"{node.name}_axes", const_value=ir.tensor(np.array([2, 3], np.int64)))
        axes.const_value.name = axes.name
        graph.initializers.add(axes)
        squeeze = ir.node("Squeeze", [new, axes], name=f"{node.name}_squeeze")
        new, added = squeeze.outputs[0], [pool, squeeze]
    graph.insert_before(node, added)
    new.name, new.shape, new.type = result.name, result.shape, result.type
    result.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
