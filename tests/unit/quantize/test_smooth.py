import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.errors import ModelError
from edgepack.graph.runner import ChildRunner
from edgepack.quantize.quantize import Quantize
from edgepack.quantize.smooth import Smooth
from edgepack.types import Sample
from tests.unit.quantize.scene import Data, context, graph, kinds, model, tensor

DRAW = np.random.default_rng(11)
WIDE = 32
node = helper.make_node
SPELLED = [
    node("Mul", ["gain", "x"], ["g"], name="gain"),
    node("Add", ["g", "offset"], ["n"], name="offset"),
]
NORM = [node("LayerNormalization", ["x", "gain", "offset"], ["n"], name="norm")]


def scene(before, *, residual=False):
    """Two products that take a tensor with one wild channel, and maybe its sum with them."""
    gain, offset = np.ones(WIDE), DRAW.normal(0, 0.1, WIDE)
    gain[5] = 300
    arrays = {
        "gain": gain, "offset": offset, "w1": DRAW.normal(0, 0.1, (WIDE, WIDE)),
        "w2": DRAW.normal(0, 0.1, (WIDE, WIDE)),
    }  # fmt: skip
    arrays["w1"][5] /= 300
    arrays["w2"][5] /= 300
    last = [node("Add", ["p", "n"], ["q"], name="residual")] if residual else []
    nodes = [
        *before,
        node("MatMul", ["n", "w1"], ["a"], name="one"),
        node("Gemm", ["n", "w2"], ["b"], name="two", transB=1),
        node("Mul", ["a", "b"], ["p"], name="both"),
        *last,
        node("Tanh", ["q" if residual else "p"], ["y"], name="last"),
    ]
    arrays["w2"] = np.ascontiguousarray(arrays["w2"].T)
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    shape = ("n", WIDE)
    return graph(model(nodes, [tensor("x", *shape)], [tensor("y", *shape)], weights))


def rows(generated=False):
    draws = (DRAW.normal(0, 1, (2 + i, WIDE)).astype(np.float32) for i in range(6))
    return Data([Sample(inputs=({"x": x},)) for x in draws], generated)


def answers(one, data):
    with ChildRunner().open(one) as session:
        return np.concatenate([session.run(sample.inputs[0])["y"] for sample in data])


@pytest.mark.parametrize("before", [SPELLED, NORM], ids=["spelled", "norm"])
@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}], ids=["searched", "half"])
def test_an_outlier_moves_into_the_weights_at_no_cost(tmp_path, before, options):
    float_one, data, told = scene(before), rows(), context(tmp_path, rows())
    digest = float_one.digest
    smooth = Smooth(**options).apply(float_one, told)
    assert float_one.digest == digest
    assert told.events.decided["applied"] == ("n",)
    assert kinds(smooth.proto()) == kinds(float_one.proto())
    expected = answers(float_one, data)
    assert np.allclose(answers(smooth, data), expected, atol=1e-6)
    to_int8 = Quantize(scheme="w8a8-static", calibration="minmax")
    errors = [
        np.square(answers(to_int8.apply(one, context(tmp_path, data)), data) - expected).mean()
        for one in (float_one, smooth)
    ]
    assert errors[1] < errors[0] / 20


@pytest.mark.parametrize("insert", [False, True])
def test_what_others_read_is_left_alone_or_multiplied_apart(tmp_path, insert):
    before, data = scene(NORM, residual=True), rows()
    told = context(tmp_path, data)
    smooth = Smooth(insert=insert).apply(before, told)
    assert (smooth is before) is not insert
    assert kinds(smooth.proto()).count("Mul") == 1 + insert
    if insert:
        assert np.allclose(answers(smooth, data), answers(before, data), atol=1e-6)
    else:
        assert told.events.decided["refused"]["n"] == "others read what would be divided"


def test_even_channels_stay_as_they_are(tmp_path):
    nodes = [node("Tanh", ["x"], ["t"]), node("MatMul", ["t", "w"], ["y"], name="one")]
    weights = [numpy_helper.from_array(DRAW.normal(0, 1, (WIDE, 4)).astype(np.float32), "w")]
    before = graph(model(nodes, [tensor("x", "n", WIDE)], [tensor("y", "n", 4)], weights))
    told = context(tmp_path, rows())
    assert Smooth(insert=True).apply(before, told) is before
    assert "no division" in told.events.decided["refused"]["t"]


def test_made_up_samples_and_quantised_graphs_are_no_ground_to_move_on(tmp_path):
    before = scene(NORM)
    with pytest.raises(ModelError) as refused:
        Smooth().apply(before, context(tmp_path, rows(generated=True)))
    assert refused.value.code == "E485"
    quantised = before.replace(scheme="w8-dynamic")
    assert Smooth().apply(quantised, context(tmp_path, rows())) is quantised
