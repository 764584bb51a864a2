import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.errors import ModelError
from edgepack.quantize.saturation import refuse_saturating
from tests.unit.quantize.scene import model, tensor


def constant(name, *values, kind=np.int8):
    return numpy_helper.from_array(np.array(values, kind), name)


def qdq(weight, *, activation=np.uint8, between=None):
    """A MatMul of quantised x and a weight, behind DequantizeLinear and maybe a moving node."""
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "zx"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "zx"], ["xd"]),
        node("DequantizeLinear", ["w", "s", "zw"], ["wd"]),
    ]
    if between:
        nodes.append(node(between, ["wd"], ["wm"]))
    nodes.append(node("MatMul", ["xd", "wm" if between else "wd"], ["y"], name="product"))
    zeros = [constant("zx", kind=activation).name, weight.data_type]
    kind = helper.tensor_dtype_to_np_dtype(zeros[1])
    scalars = [
        numpy_helper.from_array(np.array(0, activation), "zx"),
        numpy_helper.from_array(np.array(0, kind), "zw"),
        numpy_helper.from_array(np.float32(1), "s"),
    ]
    return model(nodes, [tensor("x", 1, 2)], [tensor("y", 1, 2)], [weight, *scalars])


def integer(kind, inputs, weight):
    node = helper.make_node(kind, inputs, ["y"], name="product")
    return model([node], [tensor("x", 1, 2, kind=2)], [tensor("y", 1, 2, kind=6)], [weight])


LARGE = constant("w", [-127, 5], [0, 3])
SMALL = constant("w", [-64, 64], [0, 3])
UNSIGNED = constant("w", [255, 5], [0, 3], kind=np.uint8)


@pytest.mark.parametrize(
    "proto",
    [
        qdq(LARGE),
        qdq(LARGE, activation=np.int8),
        qdq(LARGE, between="Transpose"),
        integer("MatMulInteger", ["x", "w"], LARGE),
        integer("QLinearMatMul", ["x", "s", "z", "w", "s", "z", "s", "z"], LARGE),
        integer("MatMulInteger", ["x", "computed"], LARGE),
    ],
)
def test_signed_weights_beyond_seven_bits_are_refused(proto):
    with pytest.raises(ModelError) as refused:
        refuse_saturating(proto)
    assert refused.value.code == "E453"
    assert "product" in refused.value.what


@pytest.mark.parametrize(
    "proto",
    [
        qdq(SMALL),
        qdq(UNSIGNED),
        qdq(UNSIGNED, between="Transpose"),
        integer("MatMulInteger", ["x", "w"], SMALL),
        integer("MatMulInteger", ["x", "w"], UNSIGNED),
    ],
)
def test_seven_bits_and_unsigned_weights_pass(proto):
    refuse_saturating(proto)
