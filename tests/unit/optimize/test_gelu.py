import numpy as np
import onnx
import pytest
from onnx import parser

from edgepack.graph import Graph
from edgepack.graph.agreement import agreement
from edgepack.optimize.gelu import Gelu

ERF = "h = Div (x, root) e = Erf (h) a = Add (e, one)"
TANH = "m = Mul (k, c) i = Add (x, m) j = Mul (i, q) t = Tanh (j) a = Add (one, t)"
CUBE = "k = Pow (x, three)"


def made(body, opset=20):
    numbers = {"root": 2**0.5, "less": 0.5**0.5, "one": 1, "half": 0.5, "c": 0.044715,
               "q": (2 / np.pi) ** 0.5, "three": 3, "two": 2}  # fmt: skip
    constants = ", ".join(f"float {name} = {{{value:.9g}}}" for name, value in numbers.items())
    model = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : {opset}]>
        g (float[N,8] x) => (float[N,8] y) <{constants}> {{ {body} }}"""
    )
    for index, node in enumerate(model.graph.node):
        node.name = node.op_type if node.op_type == "Erf" else f"{node.op_type}_{index}"
    return Graph.from_proto(model)


@pytest.mark.parametrize(
    "body",
    [
        f"{ERF} p = Mul (x, a) y = Mul (p, half)",
        f"{ERF} p = Mul (half, a) y = Mul (x, p)",
        "h = Mul (less, x) e = Erf (h) a = Add (one, e) p = Div (x, two) y = Mul (p, a)",
        f"{CUBE} {TANH} p = Mul (x, half) y = Mul (p, a)",
        f"s = Mul (x, x) k = Mul (s, x) {TANH} p = Mul (x, a) y = Mul (half, p)",
    ],
    ids=["torch", "half-first", "half-of-input", "tanh-power", "tanh-products"],
)
def test_a_gelu_becomes_one_operator_with_the_same_answers(body, context):
    graph = made(body)
    before = graph.digest
    ours = Gelu().apply(graph, context)
    assert graph.digest == before
    assert ours.facts()["operators"] == {"Gelu": 1}
    assert (ours.inputs, ours.outputs[0].name) == (graph.inputs, "y")
    onnx.checker.check_model(ours.proto())
    x = {"x": np.linspace(-5, 5, 24, dtype=np.float32).reshape(3, 8)}
    with context.runner.open(graph) as a, context.runner.open(ours) as b:
        assert agreement(a.run(x), b.run(x)).relative < 1e-5
    assert len(context.events.decisions[0].applied) == 1


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "h = Mul (x, root) e = Erf (h) a = Add (e, one) p = Mul (x, a) y = Mul (p, half)",
            "input",
        ),
        ("h = Div (x, root) e = Erf (h) a = Add (e, two) p = Mul (x, a) y = Mul (p, half)", "1 is"),
        (f"{ERF} y = Add (a, x)", "not multiplied"),
        (f"{ERF} p = Mul (x, a) y = Mul (p, two)", "half of the input"),
        ("y = Tanh (x)", "input"),
    ],
    ids=["factor", "two", "sum", "double", "plain-tanh"],
)
def test_anything_else_stays_with_the_reason(body, why, context):
    graph = made(body)
    assert Gelu().apply(graph, context) is graph
    (reason,) = context.events.decisions[0].refused.values()
    assert why in reason


def test_an_opset_without_it_is_refused(context):
    graph = made(f"{ERF} p = Mul (x, a) y = Mul (p, half)", opset=14)
    assert Gelu().apply(graph, context) is graph
    refused = context.events.decisions[0].refused
    assert refused == {"Erf": "Gelu is of opset 20, and the graph of 14"}


def test_what_would_move_the_answers_is_not_kept(context, monkeypatch):
    monkeypatch.setattr("edgepack.graph.checked.objection", lambda *_: "they would move")
    graph = made(f"{ERF} p = Mul (x, a) y = Mul (p, half)")
    assert Gelu().apply(graph, context) is graph
    assert context.events.decisions[0].refused == {"Erf": "they would move"}
