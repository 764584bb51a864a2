import pytest

from edgepack.errors import ModelError
from edgepack.quantize.bits.budget import Choice, allotted
from edgepack.quantize.quantize import Quantize
from tests.unit.quantize.scene import context, encoder, graph, kinds

LAYERS = {
    "frail": (Choice(8, 800, 0.0), Choice(4, 400, 0.9)),
    "sturdy": (Choice(8, 800, 0.0), Choice(4, 400, 0.1), Choice(2, 200, 0.5)),
}


def test_the_layer_that_errs_least_a_byte_goes_first():
    def bits(size):
        return {name: choice.bits for name, choice in allotted(LAYERS, 100, size).items()}

    assert bits(1700) == {"frail": 8, "sturdy": 8}
    assert bits(1699) == {"frail": 8, "sturdy": 4}
    assert bits(1299) == {"frail": 8, "sturdy": 2}
    assert bits(700) == {"frail": 4, "sturdy": 2}
    with pytest.raises(ModelError, match="699 bytes") as caught:
        allotted(LAYERS, 100, 699)
    assert (caught.value.code, "700" in caught.value.why) == ("E490", True)


def test_models_stay_below_the_size_that_they_are_given(tmp_path):
    before = graph(encoder())
    whole = Quantize(scheme="w8-weight-only").apply(before, context(tmp_path)).facts()["bytes"]
    scene = context(tmp_path)
    way = Quantize(scheme="w8-weight-only", size=whole + 4000)
    assert way.apply(before, scene).facts()["bytes"] <= whole + 4000
    with pytest.raises(ModelError) as caught:
        Quantize(scheme="w8-weight-only", size=1000).apply(before, context(tmp_path))
    assert caught.value.code == "E490"


def test_two_bits_are_packed_beside_wider_layers(tmp_path):
    import numpy as np
    from onnx import helper, numpy_helper

    from tests.unit.quantize.scene import model, tensor

    draw = np.random.default_rng(3)
    held = [
        numpy_helper.from_array(draw.normal(0, 1, (256, 256)).astype(np.float32), name)
        for name in ("w", "v")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
        helper.make_node("MatMul", ["h", "v"], ["y"], name="second"),
    ]
    before = graph(model(nodes, [tensor("x", "n", 256)], [tensor("y", "n", 256)], held))
    for size in (200_000, 100_000, 75_000, 50_000):
        scene = context(tmp_path)
        after = Quantize(scheme="w8-weight-only", size=size, method="rtn").apply(before, scene)
        assert after.facts()["bytes"] <= size
        found = sorted(scene.events.decided["bits"].values())
        assert kinds(after.proto()).count("MatMulNBits") == sum(bits > 2 for bits in found)
    assert min(found) == 2


def test_only_schemes_with_widths_take_a_size():
    with pytest.raises(ValueError, match="choose widths by size"):
        Quantize(scheme="w8-dynamic", size=10_000)
