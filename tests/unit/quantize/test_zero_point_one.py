import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from edgepack.graph.agreement import cosine
from edgepack.quantize.zero_point_one import TOP, plan_zero_point_one, shift
from tests.unit.quantize.scene import model, tensor


def convolution(channels=64, group=1, kind=np.int8, zero=None, top=True):
    """One quantised 3 x 3 convolution with `channels` in and 8 out."""
    draw = np.random.default_rng(3)
    levels = draw.integers(-127, 127, (8, channels // group, 3, 3)).astype(kind)
    if top:
        levels[:, 0, 0, 0] = TOP
    stored = {
        "w": levels,
        "w.s": draw.uniform(0.001, 0.01, 8).astype(np.float32),
        "x.s": np.float32(0.01),
        "x.z": np.uint8(3),
        "y.s": np.float32(0.1),
        "y.z": np.uint8(128),
    }
    if zero is not None:
        stored["w.z"] = np.full(8, zero, kind)
    node = helper.make_node
    scaled = ["w", "w.s", *(["w.z"] if zero is not None else [])]
    nodes = [
        node("QuantizeLinear", ["x", "x.s", "x.z"], ["x.q"]),
        node("DequantizeLinear", ["x.q", "x.s", "x.z"], ["x.d"]),
        node("DequantizeLinear", scaled, ["w.d"], axis=0),
        node("Conv", ["x.d", "w.d"], ["y.f"], group=group, kernel_shape=[3, 3]),
        node("QuantizeLinear", ["y.f", "y.s", "y.z"], ["y.q"]),
        node("DequantizeLinear", ["y.q", "y.s", "y.z"], ["y"]),
    ]
    shapes = [tensor("x", 1, channels, 9, 9)], [tensor("y", 1, 8, 7, 7)]
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()]
    return model(nodes, *shapes, tensors)


def answer(proto):
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).random((1, 64, 9, 9), np.float32)
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("zero", [None, 0])
def test_weights_below_the_top_keep_their_values(zero):
    proto = convolution(zero=zero, top=False)
    expected = answer(proto)
    plan = plan_zero_point_one(proto)
    assert (plan.shifted, plan.clipped) == (("w.d",), 0.0)
    shift(proto, plan)
    zeros = [numpy_helper.to_array(t) for t in proto.graph.initializer if "one" in t.name]
    assert [(z.dtype, z.tolist()) for z in zeros] == [(np.int8, [1] * 8)]
    np.testing.assert_array_equal(answer(proto), expected)


def test_the_top_loses_one_step_and_does_not_wrap():
    proto = convolution()
    expected = answer(proto)
    plan = plan_zero_point_one(proto)
    assert plan.clipped == pytest.approx(1 / (64 * 9), rel=0.5)
    shift(proto, plan)
    [levels] = [numpy_helper.to_array(t) for t in proto.graph.initializer if t.name == "w"]
    assert (levels[:, 0, 0, 0] == TOP).all()
    assert cosine(answer(proto).ravel(), expected.ravel()) > 0.9999


@pytest.mark.parametrize(
    "given",
    [{"channels": 48}, {"group": 64}, {"kind": np.uint8}, {"zero": 2}],
    ids=["short-sum", "depthwise", "unsigned", "has-one"],
)
def test_it_leaves_what_would_not_gain(given):
    assert plan_zero_point_one(convolution(**given)).shifted == ()


def test_weights_that_are_read_elsewhere_stay():
    proto = convolution()
    proto.graph.node.append(helper.make_node("DequantizeLinear", ["w", "w.s"], ["w.other"], axis=0))
    assert plan_zero_point_one(proto).shifted == ()
