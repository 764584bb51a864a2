"""`scheme = "auto"` measures every scheme and takes the best safe one."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from .conftest import build

RNG = np.random.default_rng(0)


def weight(name, *shape, scale=None):
    values = RNG.normal(0, scale or 1 / np.sqrt(np.prod(shape[1:])), shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def saved(path, nodes, weights, shape):
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)


@pytest.fixture
def convolutional(tmp_path):
    """Two convolutions with 64 channels: work that integers are good at."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = [weight("w1", 64, 3, 3, 3), weight("b1", 64), weight("w2", 64, 64, 3, 3)]
    return saved(tmp_path / "conv.onnx", nodes, [*weights, weight("b2", 64)], (3, 16, 16))


@pytest.fixture
def tiny(tmp_path):
    """A product so small that quantising its input costs more than it saves."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return saved(tmp_path / "tiny.onnx", nodes, [weight("w", 8, 8)], (8,))


@pytest.fixture
def pictures(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=RNG.normal(size=(24, 3, 16, 16)).astype(np.float32))
    return path


def table(report):
    return {row.scheme: row for row in report.targets[0].candidates}


def calibrated(pictures):
    return {"overrides": (f'data.calibration="{pictures}"',)}


@pytest.mark.emulated
def test_convolutions_become_static_int8_and_the_table_says_why(tmp_path, convolutional, pictures):
    report, _ = build(tmp_path, convolutional, "x86", **calibrated(pictures))
    rows = table(report)
    assert report.verdict == "pass"
    assert report.targets[0].scheme == "w8a8-static"
    assert [name for name, row in rows.items() if row.chosen] == ["w8a8-static"]
    assert rows["w8a8-static"].instructions < rows["float"].instructions
    assert rows["w8a8-static"].bytes < 0.5 * rows["float"].bytes
    assert "convolutions" in rows["w8-dynamic"].reason
    assert all(row.reason for row in rows.values())


@pytest.mark.emulated
def test_what_would_be_slower_stays_float(tmp_path, tiny):
    report, _ = build(tmp_path, tiny, "x86")
    rows = table(report)
    assert report.verdict == "pass"
    assert report.targets[0].scheme in {"float", "fp16"}
    assert rows["w8-dynamic"].instructions > rows["float"].instructions
    assert "slower" in rows["w8-dynamic"].reason
    assert "calibration" in rows["w8a8-static"].reason


@pytest.mark.emulated
def test_a_scheme_that_is_asked_for_and_is_slower_fails_its_gate(tmp_path, tiny):
    steps = 'steps=[{pass="quantize", scheme="w8-dynamic"}]'
    report, out = build(tmp_path, tiny, "x86", overrides=(steps,))
    gates = {gate.name: gate for gate in report.targets[0].gates}
    assert report.verdict == "fail"
    assert gates["max_slowdown"].verdict == "fail"
    assert not list(out.glob("*.edgepack"))
    allowed, _ = build(tmp_path, tiny, "x86", overrides=(steps, "gates.max_slowdown=1000.0"))
    assert allowed.verdict == "pass"


@pytest.mark.full
@pytest.mark.emulated
def test_what_gives_wrong_answers_is_left(tmp_path, pictures):
    """One channel in 64 a thousand times the others: no per-tensor range serves both."""
    wild = numpy_helper.to_array(weight("w1", 64, 3, 3, 3)).copy()
    wild[0] *= 3000
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["y"], pads=[1] * 4),
    ]
    mixing = numpy_helper.to_array(weight("w2", 64, 64, 3, 3)).copy()
    mixing[:, 0] = 0
    weights = [numpy_helper.from_array(wild, "w1"), numpy_helper.from_array(mixing, "w2")]
    model = saved(tmp_path / "wild.onnx", nodes, weights, (3, 16, 16))
    report, _ = build(tmp_path, model, "x86", **calibrated(pictures))
    rows = table(report)
    assert report.verdict == "pass"
    assert not rows["w8a8-static"].chosen
    assert rows["w8a8-static"].cosine < 0.99
    assert "cosine" in rows["w8a8-static"].reason
