import numpy as np
import onnx
import pytest
from onnx import parser

from edgepack.graph import Graph, checked
from edgepack.graph.agreement import agreement
from edgepack.graph.runner import ChildRunner
from edgepack.optimize.sigmoid import HardSigmoid

SIGMOID = "s = Add (x, three) c = Clip (s, zero, six) y = Div (c, six)"
SWISH = "s = Add (three, x) c = Clip (s, zero, six) p = Mul (x, c) y = Div (p, six)"
SIXTH = "s = Add (x, three) c = Clip (s, zero, six) d = Mul (sixth, c) y = Mul (d, x)"


def graph(body):
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 14]> g (float[N,4] x) => (float[N,4] y)
        <float three = {{3}}, float zero = {{0}}, float six = {{6}}, float five = {{5}},
         float sixth = {{0.16666667}}> {{ {body} }}"""
    )
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    return Graph.from_proto(model)


@pytest.mark.parametrize("body", [SIGMOID, SWISH, SIXTH], ids=["sigmoid", "swish", "sixth"])
def test_a_spelled_out_hard_sigmoid_becomes_one_operator(body, context):
    given = graph(body)
    before = given.digest
    ours = HardSigmoid().apply(given, context)
    assert given.digest == before
    operators = ours.facts()["operators"]
    assert operators["HardSigmoid"] == 1
    assert not {"Clip", "Add", "Div"} & set(operators)
    onnx.checker.check_model(ours.proto())
    assert context.events.decisions[0].applied == ("Clip_1",)
    inputs = {"x": np.linspace(-8, 8, 40, dtype=np.float32).reshape(10, 4)}
    with ChildRunner().open(given) as a, ChildRunner().open(ours) as b:
        assert agreement(a.run(inputs), b.run(inputs)).relative < 1e-6


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("s = Add (x, three) c = Clip (s, three, six) y = Div (c, six)", "from 0"),
        ("c = Clip (x, zero, six) y = Div (c, six)", "added"),
        ("s = Add (x, three) c = Clip (s, zero, six) y = Div (c, five)", "upper bound"),
        ("s = Add (x, three) c = Clip (s, zero, six) y = Div (six, c)", "divide"),
        ("s = Add (x, three) c = Clip (s, zero, six) d = Div (c, six) y = Add (c, d)", "several"),
    ],
    ids=["bounds", "bare", "other-divisor", "inverse", "shared"],
)
def test_another_clip_stays_with_a_reason(body, why, context):
    given = graph(body)
    assert HardSigmoid().apply(given, context) is given
    assert why in context.events.decisions[0].refused[f"Clip_{int(body.startswith('s'))}"]


def test_what_moves_the_answers_is_not_kept(context, monkeypatch):
    monkeypatch.setattr(checked, "objection", lambda before, after, context: "it moved")
    given = graph(SIGMOID)
    assert HardSigmoid().apply(given, context) is given
    assert context.events.decisions[0].refused == {"Clip_1": "it moved"}
