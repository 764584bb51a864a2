import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.quantize.addition import ODD, additions, align_additions, clear_of_ties
from edgepack.quantize.exact import exact
from tests.unit.quantize.scene import model, tensor

LEVELS = np.arange(-255, 256)


def chain(scales):
    """y = (a + b) + c in integers; the first scales are of a, b and their sum, then c and y."""
    node = helper.make_node
    names = ["a", "b", "ab", "c", "y"]
    stored = [
        numpy_helper.from_array(np.float32(scale), f"{name}.s")
        for name, scale in zip(names, scales, strict=True)
    ]
    stored.append(numpy_helper.from_array(np.uint8(128), "z"))
    nodes = [
        node("QuantizeLinear", [f"x{n}", f"{n}.s", "z"], [f"{n}.q"], name=f"{n}.Q") for n in "abc"
    ]
    nodes += [
        node("DequantizeLinear", [f"{n}.q", f"{n}.s", "z"], [f"{n}.d"], name=f"{n}.D")
        for n in "abc"
    ]
    for terms, total in ((("a", "b"), "ab"), (("ab", "c"), "y")):
        scale = [f"{total}.s", "z"]
        nodes += [
            node("Add", [f"{t}.d" for t in terms], [f"{total}.f"], name=f"{total}.A"),
            node("QuantizeLinear", [f"{total}.f", *scale], [f"{total}.q"], name=f"{total}.Q"),
            node("DequantizeLinear", [f"{total}.q", *scale], [f"{total}.d"], name=f"{total}.D"),
        ]
    return model(nodes, [tensor(f"x{n}", 1, 4) for n in "abc"], [tensor("y.d", 1, 4)], stored)


def ratios(proto):
    scales = {t.name: numpy_helper.to_array(t).item() for t in proto.graph.initializer}
    return [tuple(scales[t] / scales[total] for t in terms) for terms, total in additions(proto)]


def nearest_tie(first, second):
    sums = np.add.outer(LEVELS * first, LEVELS * second)
    return np.abs(sums - np.floor(sums) - 0.5).min()


@pytest.mark.parametrize(
    "scales", [(0.5, 0.25, 0.75, 0.125, 0.5), (0.031, 0.0173, 0.04, 0.011, 0.05)], ids=str
)
def test_aligned_sums_stay_clear_of_ties_and_scales_hardly_move(scales):
    proto = chain(scales)
    assert not exact(proto)
    align_additions(proto)
    assert exact(proto)
    for pair in ratios(proto):
        assert clear_of_ties(*pair)
        assert nearest_tie(*pair) > 0.9 / (2 * ODD)
    stored = {t.name: numpy_helper.to_array(t).item() for t in proto.graph.initializer}
    assert stored["y.s"] == np.float32(scales[-1])
    for name, scale in zip(("a", "b", "ab", "c"), scales, strict=False):
        assert scale * (1 - 1e-6) <= stored[f"{name}.s"] < scale * 1.01


def test_ratios_of_powers_of_two_meet_ties():
    assert nearest_tie(0.5, 0.25) == 0
    assert not clear_of_ties(0.5, 0.25)
    assert not clear_of_ties(3.0, 3.0)


def stored(proto):
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


@pytest.mark.parametrize(("scale", "kept"), [(0.0013, True), (0.25, False)], ids=["far", "near"])
def test_a_term_that_is_read_elsewhere_is_not_made_coarse(scale, kept):
    proto = chain((0.5, 0.3, 0.75, scale, 0.8))
    proto.graph.node.append(helper.make_node("Relu", ["c.d"], ["r"], name="other"))
    proto.graph.output.append(tensor("r", 1, 4))
    align_additions(proto)
    assert bool(stored(proto)["c.s"] == np.float32(scale)) is kept
    assert exact(proto) is not kept


def test_constants_keep_their_values():
    proto = chain((0.5, 0.25, 0.75, 0.0013, 0.8))
    levels = np.array([[3, 128, 200, 255]], np.uint8)
    del proto.graph.input[2]
    kept = [node for node in proto.graph.node if node.name != "c.Q"]
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    proto.graph.initializer.append(numpy_helper.from_array(levels, "c.q"))
    align_additions(proto)
    after = stored(proto)
    assert after["c.s"] > 0.00135
    values = (after["c.q"].astype(float) - 128) * after["c.s"]
    assert np.abs(values - (levels.astype(float) - 128) * 0.0013).max() <= after["c.s"]
    assert exact(proto)
