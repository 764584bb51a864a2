import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.graph.runner import ChildRunner
from edgepack.quantize.equalise import Equalise
from edgepack.quantize.quantize import Quantize
from edgepack.types import Sample
from tests.unit.quantize.scene import Data, context, graph, model, tensor

DRAW = np.random.default_rng(7)


def stack(between, *, first=(8, 3, 3, 3), second=(5, 8, 3, 3), groups=1, extra=(), hostile=1000.0):
    """Two convolutions; one channel between them is `hostile` times the others."""
    before, after = DRAW.normal(0, 0.3, first), DRAW.normal(0, 0.3, second)
    bias = DRAW.normal(0, 0.3, first[0])
    before[2] *= hostile
    bias[2] *= hostile
    after[2 if groups > 1 else (slice(None), 2)] /= hostile
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c"], name="one", pads=[1, 1, 1, 1]),
        *between,
        node("Conv", ["r", "w2"], ["y"], name="two", group=groups),
    ]
    arrays = {"w1": before, "b1": bias, "w2": after, **dict(extra)}
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    return graph(model(nodes, [tensor("x", "n", 3, 8, 8)], [tensor("y", "n", "o", 6, 6)], weights))


RELU = [helper.make_node("Relu", ["c"], ["r"], name="relu")]


def pictures(count=8):
    draws = (DRAW.normal(0, 1, (1, 3, 8, 8)).astype(np.float32) for _ in range(count))
    return Data([Sample(inputs=({"x": x},)) for x in draws])


def answers(one, data, name="y"):
    with ChildRunner().open(one) as session:
        return np.stack([session.run(sample.inputs[0])[name] for sample in data])


def errors(before, after, data):
    expected = answers(before, data)
    return np.square(answers(after, data) - expected).mean() / np.square(expected).mean()


@pytest.mark.parametrize("options", [{"per_channel": False}, {}], ids=["per-tensor", "per-channel"])
def test_one_wild_channel_no_longer_costs_the_others_their_levels(tmp_path, options):
    before, data, scene = stack(RELU), pictures(), context(tmp_path)
    digest = before.digest
    even = Equalise().apply(before, scene)
    assert before.digest == digest
    assert scene.events.decided["applied"] == ("one -> two",)
    assert np.array_equal(answers(even, data), answers(before, data))  # to the bit
    to_int8 = Quantize(scheme="w8a8-static", **options)
    plain = errors(before, to_int8.apply(before, context(tmp_path, data)), data)
    evened = errors(before, to_int8.apply(even, context(tmp_path, data)), data)
    assert plain > 0.05
    assert evened < plain / 100


SLOPE = {"slope": np.full((8, 1, 1), 0.25)}
OFFSET = {"offset": DRAW.normal(0, 1, (1, 8, 1, 1))}
node = helper.make_node


@pytest.mark.parametrize(
    ("between", "options"),
    [
        ([node("Identity", ["c"], ["i"]), node("Relu", ["i"], ["r"])], {"refused": True}),
        ([node("LeakyRelu", ["c"], ["r"], alpha=0.1)], {}),
        ([node("PRelu", ["c", "slope"], ["r"])], {"extra": SLOPE.items()}),
        ([node("Add", ["offset", "c"], ["a"]), node("Relu", ["a"], ["r"])],
         {"extra": OFFSET.items()}),
        ([node("MaxPool", ["c"], ["r"], kernel_shape=[1, 1])], {}),
        ([node("Relu", ["c"], ["r"])], {"second": (8, 1, 3, 3), "groups": 8}),
        ([node("Relu", ["c"], ["r"])], {"second": (10, 4, 3, 3), "groups": 2, "hostile": 50}),
        ([node("Sigmoid", ["c"], ["r"])], {"refused": True}),
        ([node("Clip", ["c"], ["r"])], {"refused": True}),
    ],
    ids=["identity", "leaky", "prelu", "offset", "pool", "depthwise", "grouped", "sigmoid", "clip"],
)  # fmt: skip
def test_what_scales_with_its_channels_is_passed_and_nothing_else(tmp_path, between, options):
    refused = "refused" in options
    given = {name: value for name, value in options.items() if name != "refused"}
    before, data, scene = stack(between, **given), pictures(2), context(tmp_path)
    even = Equalise().apply(before, scene)
    assert ("one" in scene.events.decided["refused"]) is refused
    assert (even is before) is refused
    assert np.array_equal(answers(even, data), answers(before, data))


def largest(one, name):
    found = {t.name: numpy_helper.to_array(t) for t in one.proto().graph.initializer}
    return np.abs(found[name])


def test_ranges_meet_within_a_power_of_two_along_a_chain_of_products(tmp_path):
    sizes = {"w1": (6, 16), "w2": (16, 8), "w3": (4, 8), "b1": (16,), "b3": (4,)}
    arrays = {n: DRAW.normal(0, 1, s) for n, s in sizes.items()}
    arrays["w1"] *= np.exp2(DRAW.integers(-8, 8, 16))
    arrays["b1"] *= 0.01
    nodes = [
        node("MatMul", ["x", "w1"], ["m"], name="one"),
        node("Add", ["m", "b1"], ["a"], name="bias"),
        node("Relu", ["a"], ["r"], name="relu"),
        node("MatMul", ["r", "w2"], ["k"], name="two"),
        node("Gemm", ["k", "w3", "b3"], ["y"], name="three", transB=1),
    ]
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    before = graph(model(nodes, [tensor("x", "n", 6)], [tensor("y", "n", 4)], weights))
    even = Equalise().apply(before, context(tmp_path))
    x = {"x": DRAW.normal(0, 1, (3, 6)).astype(np.float32)}
    with ChildRunner().open(before) as a, ChildRunner().open(even) as b:
        assert np.array_equal(a.run(x)["y"], b.run(x)["y"])
    into, out = largest(even, "w1").max(axis=0), largest(even, "w2").max(axis=1)
    assert np.all(np.abs(np.log2(into / out)) <= 2.1)
    wild = largest(before, "w1").max(axis=0)
    assert wild.max() / wild.min() > 20 * into.max() / into.min()


def test_flattened_channels_are_scaled_position_by_position(tmp_path):
    arrays = {"w1": DRAW.normal(0, 1, (4, 3, 3, 3)), "w2": DRAW.normal(0, 1, (4 * 9, 5))}
    arrays["w1"][1] *= 256
    nodes = [
        node("Conv", ["x", "w1"], ["c"], name="one"),
        node("Relu", ["c"], ["r"], name="relu"),
        node("Flatten", ["r"], ["f"], name="flat"),
        node("MatMul", ["f", "w2"], ["y"], name="two"),
    ]
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    before = graph(model(nodes, [tensor("x", "n", 3, 5, 5)], [tensor("y", "n", 5)], weights))
    even = Equalise().apply(before, context(tmp_path))
    x = {"x": DRAW.normal(0, 1, (2, 3, 5, 5)).astype(np.float32)}
    with ChildRunner().open(before) as a, ChildRunner().open(even) as b:
        assert np.array_equal(a.run(x)["y"], b.run(x)["y"])
    assert largest(even, "w1")[1].max() < largest(before, "w1")[1].max() / 8
    assert largest(even, "w2")[9:18].min() > largest(even, "w2")[:9].min() * 2


def test_what_several_read_or_is_quantised_stays(tmp_path):
    twice = [node("Relu", ["c"], ["r"]), node("Shape", ["c"], ["s"])]
    scene = context(tmp_path)
    before = stack(twice)
    assert Equalise().apply(before, scene) is before
    assert "several" in scene.events.decided["refused"]["one"]
    quantised = before.replace(scheme="w8-dynamic")
    assert Equalise().apply(quantised, scene) is quantised
