"""Asks the runtime for means over samples: small numbers instead of the tensors they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Context
from edgepack.graph import Graph
from edgepack.graph.sequence import answers

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array


AXES_AS_INPUT = {"ReduceMean": 18, "ReduceSum": 13}
"""The first opset that takes axes as an input."""


@dataclass
class Probe:
    """Nodes to hang into a graph.

    Attributes:
        nodes, constants: what is added.
        outputs: tensors of the added nodes, the same shape in every run.
        opset: of the graph.
    """

    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, proto: onnx.ModelProto) -> Probe:
        """Return an empty one for a graph."""
        return cls(next(o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}))

    def constant(self, name: str, value: Array) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node and return the name of its result, which is its own."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def reduced(self, operator: str, value: str, axes: list[int], name: str) -> str:
        """Add a reduction that drops its axes, as the graph's opset spells it."""
        if self.opset >= AXES_AS_INPUT[operator]:
            held = self.constant(f"{name} axes", np.array(axes, np.int64))
            return self.node(operator, [value, held], name, keepdims=0)
        return self.node(operator, [value], name, keepdims=0, axes=axes)


def means(
    proto: onnx.ModelProto, probe: Probe, limit: int, context: Context, what: str
) -> Mapping[str, Array]:
    """Return the mean of each of the probe's outputs over runs, float64.

    Memory does not grow with the samples: each run's answers are added up and let go.
    """
    import onnx
    from onnx import helper

    augmented = onnx.ModelProto()
    augmented.CopyFrom(proto)
    graph = augmented.graph
    graph.node.extend(probe.nodes)
    graph.initializer.extend(probe.constants)
    graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in probe.outputs
    )
    names = tuple(probe.outputs)
    samples = context.data["calibration"]
    total, runs = min(limit, len(samples)), 0
    sums: dict[str, Array] = {}
    with context.runner.open(Graph.from_proto(augmented)) as session:
        for done, sample in enumerate(islice(samples, total), 1):
            for _, found in answers(session, sample, names):
                runs += 1
                for name in names:
                    value = found[name].astype(np.float64)
                    sums[name] = sums[name] + value if name in sums else value
            context.events.progress(what, done, total)
    return {name: value / runs for name, value in sums.items()}
