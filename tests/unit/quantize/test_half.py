import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgepack.graph import Graph
from edgepack.quantize.half import plan_half
from edgepack.quantize.quantize import Quantize
from tests.unit.quantize.scene import context, encoder, graph, model, sentences, tensor
from tests.unit.quantize.test_quantize import cosines


def product(weights):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    stored = [numpy_helper.from_array(weights.astype(np.float32), "w")]
    return model([node], [tensor("x", "n", 32)], [tensor("y", "n", 32)], stored)


def normal(scale=1.0):
    return np.random.default_rng(0).normal(0, scale, (32, 32))


def test_weights_take_half_the_bytes_and_answers_stay(tmp_path):
    before, data = graph(encoder()), sentences()
    after = Quantize(scheme="fp16").apply(before, context(tmp_path))
    assert (after.scheme, after.tolerance) == ("fp16", before.tolerance)
    assert after.facts()["bytes"] < 0.52 * before.facts()["bytes"]
    assert min(cosines(before, after, data)) > 0.999999


def test_the_runtime_folds_the_casts_when_it_loads(tmp_path):
    import onnxruntime

    after = Quantize(scheme="fp16").apply(graph(encoder()), context(tmp_path))
    assert sum(n.op_type == "Cast" for n in after.proto().graph.node) == 3
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(
        after.proto().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    loaded = onnx.load(tmp_path / "loaded.onnx")
    assert "Cast" not in {node.op_type for node in loaded.graph.node}


def test_weights_that_float16_cannot_hold_stay_and_are_told(tmp_path):
    large = normal()
    large[3, 4] = 70000
    scene = context(tmp_path)
    after = Quantize(scheme="fp16").apply(graph(product(large)), scene)
    assert scene.events.decided["left"] == {"w": "it holds values beyond 65504"}
    assert "1 weights stay float32" in scene.events.notes[0]
    assert isinstance(after, Graph)
    tiny = plan_half(product(normal(1e-7)))
    assert tiny.halved == ()
    assert "rounding would cost" in tiny.left["w"]
    assert plan_half(product(normal())).halved == ("w",)
    assert plan_half(product(np.zeros((32, 32)))).halved == ("w",)
