import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepack.base import Context, Silent
from edgepack.graph import Graph
from edgepack.graph.agreement import agreement
from edgepack.graph.runner import ChildRunner
from edgepack.optimize.pool import MeanToPool


class Recorded(Silent):
    def __init__(self):
        self.decisions = []

    def decision(self, value):
        self.decisions.append(value)


def graph(*, keepdims, axes=(2, 3), convolved=True):
    nodes = [helper.make_node("Relu", ["c" if convolved else "x"], ["r"], name="relu")]
    if convolved:
        nodes.insert(0, helper.make_node("Conv", ["x", "w"], ["c"], name="conv"))
    nodes.append(helper.make_node("ReduceMean", ["r", "a"], ["y"], name="mean", keepdims=keepdims))
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    shape = ["n", "c", 1, 1] if keepdims else ["n", "c"]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array(axes, np.int64), "a"),
        ],
    )
    return Graph.from_proto(
        helper.make_model(made, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    )


def applied(given, tmp_path):
    events = Recorded()
    context = Context(work=tmp_path, seed=0, data={}, runner=ChildRunner(), events=events)
    return MeanToPool().apply(given, context), events.decisions[0]


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(2, 3), (-1, -2), (3, 2)])
def test_a_mean_over_a_picture_becomes_a_pooling_with_the_same_answers(tmp_path, keepdims, axes):
    given = graph(keepdims=keepdims, axes=axes)
    before = given.digest
    pooled, decision = applied(given, tmp_path)
    assert given.digest == before
    assert decision.pooled == ("mean",)
    operators = pooled.facts()["operators"]
    assert "ReduceMean" not in operators
    assert operators["GlobalAveragePool"] == 1
    onnx.checker.check_model(pooled.proto())
    inputs = {"x": np.random.default_rng(1).normal(size=(2, 3, 8, 6)).astype(np.float32)}
    with ChildRunner().open(given) as a, ChildRunner().open(pooled) as b:
        assert agreement(a.run(inputs), b.run(inputs)).relative < 1e-6


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"axes": (1,)}, "axes [1]"),
        ({"axes": (1, 2, 3)}, "axes"),
        ({"convolved": False}, "pictures"),
    ],
)
def test_another_mean_stays_with_a_reason(tmp_path, given, why):
    kept, decision = applied(graph(keepdims=1, **given), tmp_path)
    assert why in decision.kept["mean"]
    assert kept.facts()["operators"]["ReduceMean"] == 1
