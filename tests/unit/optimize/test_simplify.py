import importlib.util
from pathlib import Path

import numpy as np
import pytest
from onnx import parser
from pydantic import ValidationError

from edgepack.child import ChildError, call
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
    assert simple.model.opset_imports[""] == 14


def parsed(body, opset):
    return Graph.from_proto(
        parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    )


def test_an_operator_that_the_target_lacks_is_spelt_out(context):
    graph = parsed("g (float[N] x) => (float[N] y) { y = Gelu (x) }", 20)
    simple = Simplify(opset=17).apply(graph, context)
    assert simple.model.opset_imports[""] == 17
    assert {"Erf", "Mul"} <= set(simple.facts()["operators"])
    x = {"x": np.linspace(-3, 3, 7, dtype=np.float32)}
    with context.runner.open(graph) as old, context.runner.open(simple) as new:
        assert new.run(x)["y"] == pytest.approx(old.run(x)["y"], abs=1e-6)


def test_what_cannot_be_brought_down_is_an_error(context):
    graph = parsed(
        "g (float[1,1,H,W] x, float[1,P,Q,2] at) => (float[1,1,P,Q] y) { y = GridSample (x, at) }",
        17,
    )
    next(iter(graph.model.graph)).name = "node"
    with pytest.raises(ModelError, match="from opset 17 to 15") as caught:
        Simplify(opset=15).apply(graph, context)
    assert caught.value.code == "E425"
    assert caught.value.why == "operator `GridSample` (node `node`) is of opset 16"


def test_the_number_alone_changes_where_only_the_converter_fails(context, monkeypatch):
    def failing(function, arguments, limits):
        if function.endswith(":convert"):
            raise ChildError("raised", "ValueError: no adapter")
        return call(function, arguments, limits)

    monkeypatch.setattr(simplify, "call", failing)
    graph = parsed("g (float[N] x) => (float[N] y) { y = Relu (x) }", 12)
    assert Simplify().apply(graph, context).model.opset_imports[""] == 14
    assert context.events.notes == []
    # At these sizes both meanings agree; at others they would not.
    graph = parsed("g (float[2,3,1] x) => (float[2,3,1] y) { y = Softmax <axis = 1> (x) }", 12)
    assert Simplify().apply(graph, context).model.opset_imports[""] == 12
    assert context.events.notes == [
        "it stays at opset 12, and so float, as it cannot be brought to 14: no adapter"
    ]


def test_a_quantised_graph_keeps_its_old_opset(context):
    graph = parsed("g (float[N] x) => (float[N] y) { y = Relu (x) }", 10)
    same = Simplify().apply(graph.replace(scheme="quantised"), context)
    assert same.model.opset_imports[""] == 10


def test_a_folding_that_the_runtime_refuses_is_not_kept(convolution, context, monkeypatch):
    def spoilt(function, graph, folder, **options):
        copy = graph.copy()
        next(iter(copy.model.graph)).op_type = "Nothing"
        return copy

    monkeypatch.setattr(simplify, "_in_child", spoilt)
    assert Simplify().apply(convolution, context) is convolution
    assert "not simplified: ONNX Runtime cannot load" in context.events.notes[0]


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
