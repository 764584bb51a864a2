import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.graph.runner import ChildRunner
from edgepack.quantize.grid import grid_of
from edgepack.quantize.layers import layers
from edgepack.quantize.probe import Probe, means
from edgepack.quantize.quantize import Quantize
from edgepack.quantize.rounding import gram, rounded
from edgepack.types import Sample
from tests.unit.quantize.scene import Data, context, convnet, graph, model, pictures, tensor

DRAW = np.random.default_rng(3)
FORMS = [
    {}, {"weight_type": "u8"}, {"reduce_range": True}, {"weight_type": "u8", "reduce_range": True},
    {"per_channel": False}, {"per_channel": False, "weight_symmetric": False},
    {"per_channel": False, "weight_symmetric": False, "weight_type": "u8"},
]  # fmt: skip


def told(form):
    option = {"weight_type": "s8", "weight_symmetric": True, "reduce_range": False, **form}
    return option["weight_type"], {
        "symmetric": option["weight_symmetric"], "narrow": option["reduce_range"]
    }  # fmt: skip


def stored(one, name):
    tensors = {t.name: numpy_helper.to_array(t) for t in one.proto().graph.initializer}
    zero = tensors.get(f"{name}_zero_point", np.zeros(1, np.int8)).astype(np.float64)
    scale = tensors[f"{name}_scale"].astype(np.float64)
    return tensors[f"{name}_quantized"].astype(np.float64), scale, zero


@pytest.mark.parametrize("form", FORMS, ids=lambda form: " ".join(map(str, form.values())) or "s8")
@pytest.mark.parametrize("rounding", ["nearest", "adaround"])
def test_the_grid_is_the_quantisers_own(tmp_path, form, rounding):
    scene = context(tmp_path, pictures())
    before = graph(convnet())
    after = Quantize(scheme="w8a8-static", rounding=rounding, **form).apply(before, scene)
    weight_type, options = told(form)
    moved = 0.0
    for layer in layers(before.proto(), ("first", "depthwise", "head")):
        axis = layer.layout.axis if form.get("per_channel", True) else None
        grid = grid_of(layer.weight, axis, weight_type, **options)
        levels, scale, zero = stored(after, layer.node.input[1])
        assert np.array_equal(scale.reshape(-1), grid.scale.reshape(-1).astype(np.float32))
        assert np.array_equal(np.unique(zero), np.unique(grid.zero))
        nearest = grid.levels(layer.weight) + grid.zero
        apart = np.abs(levels - nearest)
        assert apart.max() <= (rounding == "adaround")
        moved += apart.sum()
        if rounding == "adaround":
            share = scene.events.decided["moved"][layer.node.name]
            assert share == pytest.approx((apart > 0).mean())
    assert bool(moved > 0) is (rounding == "adaround")


def product(bias):
    """A product whose input has a mean far from zero and strongly correlated channels."""
    weights = {"w": DRAW.normal(0, 0.3, (16, 12)), "b": DRAW.normal(0, 1, 12)}
    nodes = {
        "Add": [
            helper.make_node("MatMul", ["x", "w"], ["m"], name="layer"),
            helper.make_node("Add", ["b", "m"], ["y"], name="add"),
        ],
        "Gemm": [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="layer")],
        "none": [helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")],
    }[bias]
    kept = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()]
    kept = kept[: 1 if bias == "none" else 2]
    return graph(model(nodes, [tensor("x", "n", 16)], [tensor("y", "n", 12)], kept))


def correlated(count=20):
    mixed = DRAW.normal(0, 1, (3, 16))
    draws = (DRAW.normal(0, 1, (2 + i % 3, 3)) @ mixed + 2 for i in range(count))
    return Data([Sample(inputs=({"x": x.astype(np.float32)},)) for x in draws])


def answers(one, data):
    with ChildRunner().open(one) as session:
        return np.concatenate([session.run(sample.inputs[0])["y"] for sample in data])


@pytest.mark.parametrize("bias", ["Add", "Gemm"])
def test_the_mean_error_of_a_channel_goes_into_its_bias(tmp_path, bias):
    before, data = product(bias), correlated()
    expected = answers(before, data)
    offsets = []
    for correct in (False, True):
        to_int8 = Quantize(scheme="w8a8-static", correct_bias=correct, reduce_range=True)
        after = to_int8.apply(before, context(tmp_path, data))
        offsets.append(np.abs((answers(after, data) - expected).mean(axis=0)).mean())
    assert offsets[1] < offsets[0] / 3


def test_a_product_without_a_bias_is_named(tmp_path):
    scene = context(tmp_path, correlated())
    Quantize(scheme="w8a8-static", correct_bias=True).apply(product("none"), scene)
    assert scene.events.decided["unrefined"] == {"layer": "nothing constant is added to its result"}
    assert scene.events.decided["corrected"] == {}


def test_adaptive_rounding_lowers_the_error_of_the_output_not_of_the_weights(tmp_path):
    before, data = product("Gemm"), correlated()
    (layer,) = layers(before.proto(), ("layer",))
    grid = grid_of(layer.weight, 1, "s8", symmetric=True, narrow=True)
    probe = Probe(20)
    name = gram(probe, layer)
    seen = means(before.proto(), probe, 100, context(tmp_path, data), "adaround")[name]
    x = np.concatenate([sample.inputs[0]["x"] for sample in data])
    assert np.allclose(seen[0], x.T @ x / len(data), rtol=1e-4)
    best, nearest = rounded(layer, grid, seen), grid.nearest(layer.weight)
    errors = [np.square(x @ (w - layer.weight)).sum() for w in (best, nearest)]
    assert errors[0] < errors[1] / 3
    assert np.square(best - layer.weight).sum() > np.square(nearest - layer.weight).sum()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_what_a_convolution_sees_is_its_patches(tmp_path, groups):
    shape = (8, 4 // groups, 3, 2)
    weights = [numpy_helper.from_array(DRAW.normal(0, 1, shape).astype(np.float32), "w")]
    attributes = {"group": groups, "pads": [1, 0, 1, 1], "strides": [2, 1]}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="layer", **attributes)]
    one = graph(model(nodes, [tensor("x", 1, 4, 9, 8)], [tensor("y", 1, 8, 5, 8)], weights))
    x = DRAW.normal(0, 1, (1, 4, 9, 8)).astype(np.float32)
    data = Data([Sample(inputs=({"x": x},))])
    (layer,) = layers(one.proto(), ("layer",))
    probe = Probe(20)
    name = gram(probe, layer)
    seen = means(one.proto(), probe, 1, context(tmp_path, data), "adaround")[name]
    # The energy of each output is w H w.
    rows = layer.layout.grouped(layer.weight)
    rows = rows.reshape(*rows.shape[:2], -1)
    energy = np.einsum("goi,gij,goj->go", rows, seen, rows).reshape(-1)
    assert np.allclose(energy, np.square(answers(one, data)).sum(axis=(0, 2, 3)), rtol=1e-4)


def test_transposed_convolutions_keep_their_rounding_and_are_corrected(tmp_path):
    weights = [numpy_helper.from_array(DRAW.normal(0, 1, (3, 5, 2, 2)).astype(np.float32), "w")]
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="layer", strides=[2, 2])]
    one = graph(model(nodes, [tensor("x", "n", 3, 8, 8)], [tensor("y", "n", 5, 16, 16)], weights))
    scene = context(tmp_path, pictures())
    Quantize(scheme="w8a8-static", correct_bias=True, rounding="adaround").apply(one, scene)
    assert list(scene.events.decided["unrefined"]) == ["layer"]
    assert list(scene.events.decided["corrected"]) == ["layer"]
