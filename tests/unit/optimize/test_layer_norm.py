import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgepack.graph import Graph
from edgepack.graph.agreement import agreement
from edgepack.optimize.layer_norm import LayerNorm

MEAN = "m = ReduceMean <axes = [-1]> (x) d = Sub (x, m)"
REST = "v = ReduceMean <axes = [-1]> (s) w = Add (v, eps) r = Sqrt (w) q = Div (d, r)"
SCALED = "p = Mul (q, gamma) y = Add (p, beta)"


def made(body, opset=17, gamma=(8,)):
    model = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : {opset}]>
        g (float[N,3,8] x) => (float[N,3,8] y)
        <float two = {{2}}, float three = {{3}}, float eps = {{0.01}}, int64[1] last = {{-1}}>
        {{ {body} }}"""
    )
    rng = np.random.default_rng(0)
    for name, shape in (("gamma", gamma), ("beta", gamma)):
        value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for index, node in enumerate(model.graph.node):
        node.name = node.op_type if node.op_type == "Sqrt" else f"{node.op_type}_{index}"
    return Graph.from_proto(model)


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        (f"{MEAN} s = Pow (d, two) {REST} {SCALED}", 17),
        (f"{MEAN} s = Mul (d, d) {REST} p = Mul (gamma, q) y = Add (beta, p)", 17),
        (f"{MEAN} e = Sub (x, m) s = Mul (e, e) {REST} {SCALED}", 17),
        (f"{MEAN} s = Pow (d, two) {REST} y = Mul (q, gamma)", 17),
        (f"{MEAN} s = Pow (d, two) {REST} {SCALED}".replace("[-1]", "[2]"), 17),
        (f"{MEAN} s = Pow (d, two) {REST} {SCALED}".replace("<axes = [-1]>", "").replace(
            "ReduceMean  (x)", "ReduceMean (x, last)").replace(
            "ReduceMean  (s)", "ReduceMean (s, last)"), 20),
        (f"{MEAN} s = Pow (d, two) {REST} {SCALED}".replace("w = Add (v, eps) r = Sqrt (w)",
                                                            "r = Sqrt (v)"), 17),
    ],
    ids=["torch", "product", "twin", "no-offset", "from-the-front", "axes-as-input", "no-epsilon"],
)  # fmt: skip
def test_a_layer_norm_becomes_one_operator_with_the_same_answers(body, opset, context):
    graph = made(body, opset)
    before = graph.digest
    ours = LayerNorm().apply(graph, context)
    assert graph.digest == before
    assert ours.facts()["operators"] == {"LayerNormalization": 1}
    assert (ours.inputs, ours.outputs[0].name) == (graph.inputs, "y")
    onnx.checker.check_model(ours.proto())
    x = {"x": np.random.default_rng(1).normal(3, 2, (2, 3, 8)).astype(np.float32)}
    with context.runner.open(graph) as a, context.runner.open(ours) as b:
        assert agreement(a.run(x), b.run(x)).relative < 1e-5
    assert context.events.decisions[0].applied == ("Sqrt",)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("y = Sqrt (x)", "variance"),
        ("w = Add (x, x) y = Sqrt (w)", "no constant"),
        (f"{MEAN} s = Pow (d, three) {REST} {SCALED}", "variance"),
        (f"{MEAN} s = Pow (d, two) {REST} {SCALED}".replace("[-1]", "[1]"), "trailing"),
        (f"{MEAN} s = Pow (d, two) {REST} {SCALED}".replace("(d, r)", "(x, r)"), "divide"),
        (f"{MEAN} s = Pow (d, two) {REST} y = Add (q, beta)", "factor"),
    ],
    ids=["root", "two-values", "cube", "middle-axis", "not-centred", "no-factor"],
)
def test_anything_else_stays_with_the_reason(body, why, context):
    graph = made(body)
    assert LayerNorm().apply(graph, context) is graph
    assert why in context.events.decisions[0].refused["Sqrt"]


def test_a_factor_of_another_shape_is_refused(context):
    graph = made(f"{MEAN} s = Pow (d, two) {REST} {SCALED}", gamma=(1,))
    assert LayerNorm().apply(graph, context) is graph


def test_an_opset_without_it_is_refused(context):
    graph = made(f"{MEAN} s = Pow (d, two) {REST} {SCALED}", opset=14)
    assert LayerNorm().apply(graph, context) is graph
    why = "LayerNormalization is of opset 17, and the graph of 14"
    assert context.events.decisions[0].refused == {"Sqrt": why}


def test_what_would_move_the_answers_is_not_kept(context, monkeypatch):
    monkeypatch.setattr("edgepack.graph.checked.objection", lambda *_: "they would move")
    graph = made(f"{MEAN} s = Pow (d, two) {REST} {SCALED}")
    assert LayerNorm().apply(graph, context) is graph
    assert context.events.decisions[0].refused == {"Sqrt": "they would move"}
