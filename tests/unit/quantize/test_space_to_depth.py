import numpy as np
import onnx
import pytest
from onnx import helper

from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.quantize.quantize import Quantize
from edgepack.quantize.space_to_depth import compute_on_blocks, plan_blocks
from tests.unit.quantize.scene import context, kinds, model, pictures, tensor, weight


def first(kernel=3, pads=(1, 1, 1, 1), size=(8, 12), **changed):
    options = {"strides": [2, 2], "pads": list(pads), **changed}
    channels = 3 // options.get("group", 1)
    proto = model(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="stem", **options)],
        [tensor("x", "n", 3, *size)],
        [tensor("y", "n", 6, "h", "v")],
        [weight("w", 6, channels, kernel, kernel), weight("b", 6)],
    )
    return onnx.shape_inference.infer_shapes(proto)


def answer(proto, size):
    picture = np.random.default_rng(0).normal(0, 1, (2, 3, *size)).astype(np.float32)
    with ChildRunner().open(Graph.from_proto(proto)) as session:
        return session.run({"x": picture})["y"]


@pytest.mark.parametrize("size", [(8, 12), (14, 10)])
@pytest.mark.parametrize(
    ("kernel", "pads"),
    [
        (1, (0, 0, 0, 0)),
        (3, (0, 0, 0, 0)),
        (3, (0, 0, 1, 1)),
        (3, (1, 1, 1, 1)),
        (5, (2, 1, 2, 2)),
        (7, (3, 3, 3, 3)),
    ],
)
def test_answers_are_the_same_on_blocks(kernel, pads, size):
    proto, ours = first(kernel, pads, size), first(kernel, pads, size)
    ours.CopyFrom(proto)
    compute_on_blocks(ours, plan_blocks(ours))
    assert kinds(ours) == ["SpaceToDepth", "Conv"]
    assert answer(ours, size) == pytest.approx(answer(proto, size), abs=1e-5)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"strides": [1, 1]},
        {"strides": [2, 1]},
        {"dilations": [2, 2]},
        {"group": 3},
        {"size": (7, 8)},
        {"size": ("h", "v")},
    ],
)
def test_what_does_not_suit_is_left_alone(spoilt):
    assert plan_blocks(first(**spoilt)).blocks == ()


def test_the_target_says_whether(tmp_path):
    for wanted in (False, True):
        proto = first(size=(8, 8))
        scene = context(tmp_path, pictures())
        step = Quantize(scheme="w8a8-static", space_to_depth=wanted)
        after = step.apply(Graph.from_proto(proto), scene)
        assert ("SpaceToDepth" in kinds(after.proto())) is wanted
