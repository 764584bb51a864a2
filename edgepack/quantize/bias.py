"""Takes the mean error that quantised weights leave in each channel out of the biases.

With Q the rounded weights and x what a layer sees, its output errs on average by E[(Q - W) x] a
channel: not noise, which averages out on the way, but an offset that all layers above see. All
layers are measured in one sweep, each on its own input, so that no correction counts twice.

Source: Nagel et al., Data-Free Quantization, arXiv:1906.04721, section 4.2, with measured inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.layers import Layer
from edgepack.quantize.probe import Probe

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array


def offset(probe: Probe, layer: Layer, rounded: Array) -> str:
    """Add nodes that give the mean error a channel, [channels]; return the output's name."""
    node = layer.node
    name = f"offset of {node.output[0]}"
    error = probe.constant(f"{name} error", (rounded - layer.weight).astype(np.float32))
    result = probe.node(node.op_type, [node.input[0], error], f"{name} result")
    probe.nodes[-1].attribute.extend(a for a in node.attribute if a.name != "beta")
    if node.op_type in {"Conv", "ConvTranspose"}:
        shape, axis = np.array([0, 0, -1], np.int64), [0, 2]
    else:
        shape, axis = np.array([-1, rounded.shape[layer.layout.axis]], np.int64), [0]
    flat = probe.node("Reshape", [result, probe.constant(f"{name} shape", shape)], f"{name} flat")
    probe.reduced("ReduceMean", flat, axis, name)
    probe.outputs.append(name)
    return name


def shift(proto: onnx.ModelProto, layer: Layer, by: Array) -> str:
    """Take an offset from a layer's bias, in place; say why not where it has no place for one.

    A product without a bias of its own takes the constant that the node after it adds.
    """
    from onnx import numpy_helper

    node = next(n for n in proto.graph.node if n.output and n.output[0] == layer.node.output[0])
    constants = {t.name: t for t in proto.graph.initializer}
    readers = [n for n in proto.graph.node if node.output[0] in n.input]
    if node.op_type == "MatMul":
        after = readers[0] if len(readers) == 1 and readers[0].op_type == "Add" else None
        names = [n for n in after.input if n != node.output[0]] if after is not None else []
        bias = names[0] if names else ""
        if after is None or bias not in constants or constants[bias].dims[-1:] != [by.size]:
            return "nothing constant is added to its result"
        place = list(after.input).index(bias)
        owner = after
    else:
        bias = node.input[2] if len(node.input) > 2 else ""
        place, owner = 2, node
        if bias and bias not in constants:
            return "its bias is not constant"
    before = numpy_helper.to_array(constants[bias]) if bias else np.zeros(by.size, np.float32)
    if before.size != by.size:
        return "its bias is not one number for each channel"
    beta = next((a.f for a in node.attribute if a.name == "beta"), 1.0)
    values = (before - by.reshape(before.shape) / beta).astype(np.float32)
    if bias and sum(name == bias for n in proto.graph.node for name in n.input) == 1:
        constants[bias].CopyFrom(numpy_helper.from_array(values, bias))
        return ""
    name = f"{node.output[0]} bias"
    proto.graph.initializer.append(numpy_helper.from_array(values, name))
    if len(owner.input) > place:
        owner.input[place] = name
    else:
        owner.input.append(name)
    return ""
