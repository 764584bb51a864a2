import pytest
from onnx import parser

from edgepack.graph import Graph
from edgepack.optimize.spelled import Spelling, contract


def made(opset=20):
    return Graph.from_proto(
        parser.parse_model(
            f"""<ir_version: 9, opset_import: ["" : {opset}]>
            g (float[N,4] x) => (float[N,4] y) {{ [a] h = Abs (x) [r] y = Relu (h) }}"""
        )
    )


def absolute(node):
    return Spelling((node.inputs[0].producer().inputs[0],), node)


def test_what_agrees_is_put_in_place(context):
    """|x| is never negative, so a ReLU after it spells it out."""
    graph = made()
    after = contract(graph, context, "Abs", 13, frozenset({"Relu"}), absolute)
    assert after.facts()["operators"] == {"Abs": 1}
    assert context.events.decisions[-1].applied == ("r",)
    assert graph.facts()["operators"] == {"Abs": 1, "Relu": 1}


def test_what_answers_otherwise_is_taken_back_with_the_reason(context):
    after = contract(made(), context, "Neg", 13, frozenset({"Relu"}), absolute)
    assert after.facts()["operators"] == {"Abs": 1, "Relu": 1}
    decision = context.events.decisions[-1]
    assert decision.applied == ()
    assert "the answers would move" in decision.refused["r"]


@pytest.mark.parametrize(
    ("find", "since", "why"),
    [(absolute, 21, "Abs is of opset 21, and the graph of 20"), (lambda _: "no", 13, "no")],
)
def test_what_is_refused_says_why_and_runs_nothing(context, find, since, why, monkeypatch):
    monkeypatch.setattr(type(context.runner), "open", None)
    graph = made()
    assert contract(graph, context, "Abs", since, frozenset({"Relu"}), find) is graph
    assert context.events.decisions[-1].refused == {"r": why}
