import numpy as np
import pytest
from onnx import numpy_helper

from edgepack.quantize import worker
from edgepack.quantize.quantize import Quantize
from edgepack.quantize.static import left_float, plan_static
from edgepack.quantize.survey import survey
from tests.unit.quantize.scene import context, convnet, encoder, graph, pictures


def prepared(proto, folder):
    import onnx

    onnx.save(proto, folder / "in.onnx")
    worker.prepare(str(folder / "in.onnx"), str(folder / "out.onnx"))
    return onnx.load(folder / "out.onnx")


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_convolutions_take_everything_along_and_products_only_themselves(tmp_path):
    proto = prepared(convnet(), tmp_path)
    plan = plan_static(proto, survey(proto), ())
    assert plan.nodes == tuple(node.name for node in proto.graph.node)
    assert plan.outputs
    assert {"x", "y"} <= set(plan.observed)
    proto = prepared(encoder(), tmp_path)
    plan = plan_static(proto, survey(proto), ())
    assert plan.nodes == ("query", "key", "head")
    assert not plan.outputs
    assert plan.observed == ("e", "p")


def test_without_types_nothing_is_promised():
    proto = encoder()
    plan = plan_static(proto, survey(proto), ())
    assert plan.nodes == ()
    assert plan.left["query"] == "the type of its tensors could not be inferred"


def test_what_the_quantiser_passed_over_is_found(tmp_path):
    proto = prepared(encoder(), tmp_path)
    plan = plan_static(proto, survey(proto), ())
    assert set(left_float(proto, plan)) == {"query", "key", "head"}


def test_preparation_names_nodes_and_lifts_constants(tmp_path):
    from onnx import helper

    proto = encoder()
    for node in proto.graph.node:
        node.name = "same"
    table = next(t for t in proto.graph.initializer if t.name == "table")
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["table"], value=table))
    proto.graph.initializer.remove(table)
    done = prepared(proto, tmp_path)
    names = [node.name for node in done.graph.node]
    assert len(set(names)) == len(names) == 9
    assert "table" in {tensor.name for tensor in done.graph.initializer}


@pytest.mark.parametrize("weight_type", ["s8", "u8"])
def test_a_dead_channel_keeps_its_bias_and_the_common_zero_point(tmp_path, weight_type):
    proto = convnet()
    bias = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}["b1"]
    one = Quantize(scheme="w8a8-static", weight_type=weight_type)
    after = one.apply(graph(proto), context(tmp_path, pictures(2))).proto()
    stored = {t.name: numpy_helper.to_array(t) for t in after.graph.initializer}
    # Zero points of zero are left out, but for products: their kernel wants to see them.
    assert ("w1_zero_point" in stored) == (weight_type == "u8")
    assert len(set(stored.get("w1_zero_point", [0]))) == 1
    assert "w3_zero_point" in stored
    assert "b1_quantized_zero_point" not in stored
    kept = stored["b1_quantized"] * stored["b1_quantized_scale"].astype(np.float64)
    assert np.abs(kept - bias)[2] < 1e-6
