import importlib.util
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgepack.child import ChildError
from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.gate import admit
from edgepack.optimize import simplify
from edgepack.optimize.simplify import Simplify


def test_batch_norms_and_constants_fold_away(convolution, context):
    before = convolution.digest
    simple = Simplify().apply(convolution, context)
    assert simple.facts()["operators"] == {"Conv": 1}
    assert (simple.inputs, simple.outputs[0].name) == (convolution.inputs, "y")
    assert convolution.digest == before
    found = context.events.decisions[0]
    assert found.applied
    assert found.operators_removed["BatchNormalization"] == 1
    assert (found.shapes, found.nodes_removed) == (3, 6)
    assert 0 <= found.difference < 1e-5
    assert context.events.notes == []


def test_the_result_is_the_same_each_time(convolution, context):
    first = Simplify().apply(convolution, context)
    assert first.digest == Simplify().apply(convolution, context).digest


def test_what_changes_the_answers_is_not_kept(convolution, context, monkeypatch):
    def spoilt(function, graph, folder, **options):
        copy = graph.copy()
        copy.model.graph.initializers["bias"].const_value = graph.model.graph.initializers[
            "gain"
        ].const_value
        return copy

    monkeypatch.setattr(simplify, "_in_child", spoilt)
    assert Simplify().apply(convolution, context) is convolution
    assert "the answers would move by" in context.events.notes[0]
    found = context.events.decisions[0]
    assert not found.applied
    assert found.difference > 1e-3


def test_an_output_that_goes_missing_is_not_kept(convolution, context, monkeypatch):
    def spoilt(function, graph, folder, **options):
        copy = graph.copy()
        copy.model.graph.outputs[0].name = "z"
        return copy

    monkeypatch.setattr(simplify, "_in_child", spoilt)
    assert Simplify().apply(convolution, context) is convolution


def test_a_folding_that_crashes_is_a_note(convolution, context, monkeypatch):
    def crash(*arguments, **options):
        raise ChildError("crashed", "SIGSEGV", -11)

    monkeypatch.setattr(simplify, "call", crash)
    assert Simplify().apply(convolution, context) is convolution
    assert context.events.notes == ["not simplified: crashed: SIGSEGV"]


def test_a_quantised_graph_is_passed_through(convolution, context):
    graph = convolution.replace(scheme="quantised")
    assert Simplify().apply(graph, context) is graph
    assert "already quantised" in context.events.notes[0]


def test_opset_and_ir_come_down_to_what_the_target_loads(convolution, context):
    simple = Simplify(opset=15, ir=7).apply(convolution, context)
    assert (simple.model.opset_imports[""], simple.model.ir_version) == (15, 7)
    assert context.events.decisions[0].opset == 15


def test_an_opset_from_long_ago_is_brought_up(convolution, context):
    proto = convolution.proto()
    proto.opset_import[0].version = 9
    simple = Simplify().apply(Graph.from_proto(proto), context)
    assert simple.model.opset_imports[""] == 11


def test_what_cannot_be_brought_down_is_an_error(context):
    from onnx import parser

    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 20]>
        g (float[N] x) => (float[N] y) { y = Gelu (x) }"""
    )
    with pytest.raises(ModelError, match="from opset 20 to 17") as caught:
        Simplify(opset=17).apply(Graph.from_proto(model), context)
    assert caught.value.code == "E425"


def test_options_have_bounds():
    with pytest.raises(ValidationError):
        Simplify(opset=9)


def test_a_real_model_is_simpler_and_answers_alike(context):
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("rapidocr-onnxruntime is not installed")
    folder = Path(spec.submodule_search_locations[0])
    graph = admit(next(folder.rglob("*cls*.onnx")))
    simple = Simplify().apply(graph, context)
    assert "BatchNormalization" not in simple.facts()["operators"]
    assert context.events.decisions[0].nodes_removed > 50
    assert context.events.decisions[0].difference < 1e-5
