import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.errors import ModelError
from edgepack.quantize.bits.few import few
from edgepack.quantize.bits.grids import Kind
from edgepack.quantize.bits.hqq import hqq
from edgepack.quantize.quantize import Quantize
from edgepack.quantize.require import PACKED
from tests.unit.quantize.scene import (
    Data,
    context,
    convnet,
    encoder,
    graph,
    kinds,
    model,
    pictures,
    sentences,
    tensor,
)
from tests.unit.quantize.test_quantize import cosines


def products():
    """A MatMul with an Add after it, and a Gemm; 50 inputs do not fill blocks."""
    node, draw = helper.make_node, np.random.default_rng(3)

    def weight(name, *shape):
        return numpy_helper.from_array(draw.normal(0, 0.5, shape).astype(np.float32), name)

    return model(
        [
            node("MatMul", ["x", "w"], ["p"], name="first"),
            node("Add", ["p", "b"], ["a"], name="add"),
            node("Gemm", ["a", "v", "c"], ["y"], name="second", transB=1),
        ],
        [tensor("x", "n", 50)],
        [tensor("y", "n", 9)],
        [weight("w", 50, 40), weight("b", 40), weight("v", 9, 40), weight("c", 9)],
    )


def vectors(count=4):
    draw = np.random.default_rng(5)
    return [draw.normal(0, 1, (8, 50)).astype(np.float32) for _ in range(count)]


def answer(proto, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("scheme", "bits"), [("w4-weight-only", 4), ("w8-weight-only", 8)])
@pytest.mark.parametrize("group", [16, 128])
def test_answers_are_those_of_the_levels(tmp_path, scheme, bits, group, symmetric):
    before, x = products(), vectors()[0]
    way = Quantize(scheme=scheme, group=group, symmetric=symmetric, accuracy_level=0)
    after = way.apply(graph(before), context(tmp_path))
    held = {t.name: numpy_helper.to_array(t) for t in before.graph.initializer}
    kind = Kind(bits, group, symmetric)
    inner = x @ hqq(held["w"].T, kind).values().T + held["b"]
    expected = inner @ hqq(held["v"], kind).values().T + held["c"]
    assert kinds(after.proto()) == ["MatMulNBits", "MatMulNBits"]
    assert np.abs(answer(after.proto(), x) - expected).max() < 1e-3
    assert after.scheme == scheme


def test_gptq_is_what_calibration_data_is_for_and_errs_less(tmp_path):
    from edgepack.types import Sample

    before = products()
    mix = np.random.default_rng(6).normal(0, 1, (50, 50)) ** 3
    data = Data([Sample(inputs=({"x": (x @ mix).astype(np.float32)},)) for x in vectors(12)])
    seen = np.concatenate([sample.inputs[0]["x"] for sample in data.items])
    off = {}
    for method in ("auto", "rtn", "awq"):
        way = Quantize(scheme="w4-weight-only", method=method, accuracy_level=0)
        scene = context(tmp_path, data)
        after = way.apply(graph(before), scene)
        off[method] = np.square(answer(after.proto(), seen) - answer(before, seen)).sum()
        used = {"first": "gptq", "second": "gptq"} if method == "auto" else None
        assert used is None or scene.events.decided["methods"] == used
    assert off["auto"] < 0.7 * off["rtn"]
    assert off["awq"] < off["rtn"]  # of the answers, though it searches layer by layer


def test_methods_that_need_data_are_refused_without(tmp_path):
    with pytest.raises(ModelError) as caught:
        Quantize(scheme="w4-weight-only", method="awq").apply(graph(products()), context(tmp_path))
    assert caught.value.code == "E491"


def test_an_encoder_gets_its_embeddings_in_bytes_as_well(tmp_path):
    before, data = graph(encoder()), sentences()
    after = Quantize(scheme="w8-weight-only").apply(before, context(tmp_path, data))
    assert kinds(after.proto()).count("MatMulNBits") == 3
    assert min(cosines(before, after, data)) > 0.999
    assert after.facts()["bytes"] < 0.3 * before.facts()["bytes"]
    assert not after.tolerance.exact


def test_convolutions_have_no_kernel_and_keep_is_heard(tmp_path):
    scene = context(tmp_path)
    Quantize(scheme="w4-weight-only").apply(graph(convnet()), scene)
    assert set(scene.events.decided["left"]) == {"first", "depthwise"}
    kept = Quantize(scheme="w4-weight-only", keep=("first",))
    after = kept.apply(graph(products()), context(tmp_path))
    assert kinds(after.proto()) == ["MatMul", "Add", "MatMulNBits"]


@pytest.mark.parametrize("scheme", ["w2-weight-only", "ternary-weight-only", "binary-weight-only"])
def test_few_levels_are_packed_and_said_to_save_storage_only(tmp_path, scheme):
    scene = context(tmp_path)
    before, data = graph(convnet()), pictures()
    after = Quantize(scheme=scheme).apply(before, scene)
    assert set(scene.events.decided["packed"]) == {"w1", "w2", "w3"}
    assert scene.events.decided["load_seconds"] > 0
    assert "storage only: expanded when it is loaded" in scene.events.notes[-1]
    stored = {t.name for t in after.proto().graph.initializer}
    assert {"w1.packed", "w2.packed", "w3.packed"} <= stored
    assert not {"w1", "w2", "w3"} & stored
    rounded = before.proto()
    for held in rounded.graph.initializer:
        if held.name in {"w1", "w2", "w3"}:
            levels, steps = few(numpy_helper.to_array(held), 0, PACKED[scheme])
            values = levels * steps.reshape(-1, *[1] * (levels.ndim - 1))
            held.CopyFrom(numpy_helper.from_array(values.astype(np.float32), held.name))
    assert min(cosines(graph(rounded), after, data)) > 0.99999


def test_bfloat_halves_the_file_and_rounds_ties_to_even(tmp_path):
    from edgepack.quantize.bits.bfloat import rounded

    before, data = graph(encoder()), sentences()
    after = Quantize(scheme="bf16").apply(before, context(tmp_path))
    assert after.facts()["bytes"] < 0.52 * before.facts()["bytes"]
    assert min(cosines(before, after, data)) > 0.9999
    halves = rounded(np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -2.0], np.float32))
    assert halves.tolist() == [0x3F80, 0x3F80, 0x3F82, 0xC000]
