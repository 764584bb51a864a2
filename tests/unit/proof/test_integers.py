import pytest

from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.proof.integers import explain
from edgepack.quantize.quantize import Quantize
from edgepack.types import SessionSettings
from tests.unit.quantize.scene import context, convnet, encoder, pictures, sentences


def explained(graph, data):
    feed = data.items[0].inputs[0]
    return explain(graph, feed, ChildRunner(), SessionSettings(), vnni=True)


def test_a_float_model_runs_nothing_as_integers():
    found = explained(Graph.from_proto(convnet()), pictures(1))
    assert [layer.node for layer in found.layers] == ["first", "depthwise", "head"]
    assert {layer.why for layer in found.layers} == {"its weights are float"}
    assert (found.integer_share, found.estimated_gain) == (0, 1)
    assert sum(layer.share for layer in found.layers) == pytest.approx(1)
    assert [layer.channels for layer in found.layers] == [None, None, 5]


def test_static_convolutions_run_as_integers_and_a_product_that_is_kept_does_not(tmp_path):
    data = pictures()
    step = Quantize(scheme="w8a8-static", keep=("head",))
    after = step.apply(Graph.from_proto(convnet()), context(tmp_path, data))
    found = {layer.node: layer for layer in explained(after, data).layers}
    assert (found["first"].integer, found["first"].kernel) == (True, "QLinearConv")
    assert (found["head"].integer, found["head"].kernel) == (False, "Gemm")
    assert found["head"].why


def test_products_of_activations_stay_float(tmp_path):
    data = sentences()
    after = Quantize(scheme="w8-dynamic").apply(Graph.from_proto(encoder()), context(tmp_path))
    whole = explained(after, data)
    found = {layer.node: layer for layer in whole.layers}
    assert {n for n, layer in found.items() if layer.integer} == {"query", "key", "head"}
    assert found["scores"].why == "both factors are computed: no weights to quantise"
    assert 0 < whole.integer_share < 1
    assert 1 < whole.estimated_gain < 3.2


def test_signed_activations_are_told_of(tmp_path):
    data = pictures()
    step = Quantize(scheme="w8a8-static", activation_type="s8", activation_symmetric=True)
    after = step.apply(Graph.from_proto(convnet()), context(tmp_path, data))
    found = explained(after, data)
    why = {layer.why for layer in found.layers if not layer.integer}
    assert why <= {"its activations are signed bytes, for which x86 has no kernel"}
