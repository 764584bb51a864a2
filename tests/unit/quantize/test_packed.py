"""Packed weights: what ONNX Runtime expands is (level - zero) * scale, and the bytes are few."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepack.quantize.packed import pack, store_packed
from edgepack.types import Width

LEVELS: dict[str, tuple[Width, list[int]]] = {
    "binary": ("binary", [-1, 1]),
    "ternary": ("ternary", [-1, 0, 1]),
    "w2-signed": ("w2", [-2, -1, 0, 1]),
    "w2-unsigned": ("w2", [0, 1, 2, 3]),
    "w4-signed": ("w4", list(range(-8, 8))),
    "w4-unsigned": ("w4", list(range(16))),
    "w8-signed": ("w8", list(range(-128, 128))),
    "w8-unsigned": ("w8", list(range(256))),
}


def _model(shape: tuple[int, ...]) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.zeros(shape, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("axis", [None, 0, 1], ids=["whole", "rows", "columns"])
@pytest.mark.parametrize("zeros", [False, True], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("kind", LEVELS)
def test_the_runtime_expands_to_the_last_bit(kind: str, zeros: bool, axis: int | None) -> None:
    width, values = LEVELS[kind]
    draw = np.random.default_rng(0)
    levels = draw.choice(values, size=(7, 5, 3))
    count = 1 if axis is None else levels.shape[axis]
    scale = draw.normal(size=count).astype(np.float32)
    zero = draw.integers(-3, 4, size=count) if zeros else None
    proto = _model(levels.shape)
    if axis is None:
        scale, zero = scale.reshape(()), None if zero is None else zero.reshape(())
    store_packed(proto, "w", levels, scale, zero, axis, width)
    onnx.checker.check_model(proto, full_check=True)
    (got,) = ort.InferenceSession(proto.SerializeToString()).run(None, {})
    shape = [-1 if place == axis else 1 for place in range(3)] if axis is not None else []
    moved = levels - (0 if zero is None else zero.reshape(shape))
    expected = moved.astype(np.float32) * scale.reshape(shape)
    assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    ("width", "part"), [("binary", 32), ("ternary", 20), ("w2", 16), ("w4", 8), ("w8", 4)]
)
def test_bytes_are_full(width: Width, part: int) -> None:
    levels = np.resize([-1, 1], 640)
    assert pack(levels, width)[0].nbytes * part == 4 * levels.size


def test_scales_that_float16_holds_take_two_bytes() -> None:
    proto = _model((4, 4))
    store_packed(proto, "w", np.ones((4, 4), int), np.full(4, 0.5, np.float32), None, 0, "binary")
    stored = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert stored["w.scale"] == TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("width", "wrong"), [("binary", 0), ("ternary", 2), ("w2", 4), ("w4", -9), ("w8", 256)]
)
def test_levels_that_a_width_lacks_are_refused(width: Width, wrong: int) -> None:
    with pytest.raises(ValueError, match="levels"):
        pack(np.array([1, wrong]), width)
