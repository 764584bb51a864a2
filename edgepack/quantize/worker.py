"""Runs in a child process: shape inference and ONNX Runtime's QDQ quantiser, on files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgepack.graph.weights import load_proto, save_proto
from edgepack.quantize.grid import NARROWEST


def prepare(source: str, destination: str) -> None:
    """Write a model with constants as initializers, unique node names and all types inferred.

    The quantiser leaves out, in silence, every node whose tensors have no known type. ONNX infers
    those of its own operators; symbolic inference, slower to load, knows ONNX Runtime's as well.
    """
    os.chdir(Path(destination).parent)  # symbolic inference may leave a file behind
    # Types follow from dims: weights beside the model stay there, and are referred to.
    model = onnx.load(source, load_external_data=False)
    _lift_constants(model)
    _name_nodes(model)
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = {value.name for value in (*inferred.graph.value_info, *inferred.graph.output)}
    if not {name for node in model.graph.node for name in node.output if name} <= known:
        inferred = _infer_symbolically(model) or inferred
    onnx.save(inferred, destination)


def quantize(
    source: str,
    destination: str,
    nodes: Sequence[str],
    operators: Sequence[str],
    outputs: bool,
    ranges: Mapping[str, Sequence[float]],
    weight_type: str,
    activation_type: str,
    per_channel: bool,
    weight_symmetric: bool,
    activation_symmetric: bool,
    reduce_range: bool,
) -> None:
    """Write the prepared model with QuantizeLinear/DequantizeLinear around the named nodes."""
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    kinds = {"s8": QuantType.QInt8, "u8": QuantType.QUInt8}
    model = load_proto(Path(source))
    add_infer_metadata(model)  # or it infers again, and less well
    seen = {
        name: (np.float32(low).reshape(1), np.float32(high).reshape(1))
        for name, (low, high) in ranges.items()
    }
    options: dict[str, Any] = {
        "WeightSymmetric": weight_symmetric,
        "ActivationSymmetric": activation_symmetric,
        "MinimumRealRange": NARROWEST,
        "OpTypesToExcludeOutputQuantization": [] if outputs else list(operators),
    }
    quantizer = QDQQuantizer(
        model,
        per_channel,
        reduce_range,
        kinds[weight_type],
        kinds[activation_type],
        TensorsData(CalibrationMethod.MinMax, seen),
        list(nodes),
        [],
        list(operators),
        options,
    )
    quantizer.quantize_model()
    save_proto(quantizer.model.model, Path(destination))


def _infer_symbolically(model: onnx.ModelProto) -> onnx.ModelProto | None:
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    try:
        return SymbolicShapeInference.infer_shapes(model, auto_merge=True)
    except Exception:  # noqa: BLE001  it raises anything on operators it does not know
        return None


def _lift_constants(model: onnx.ModelProto) -> None:
    """Turn Constant nodes that hold a tensor into initializers."""
    graph = model.graph
    kept = []
    for node in graph.node:
        tensors = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and tensors:
            graph.initializer.append(tensors[0])
            graph.initializer[-1].name = node.output[0]
        else:
            kept.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(copies)


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name that no other node has."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        while node.name in taken:
            node.name += "_"
        taken.add(node.name)
