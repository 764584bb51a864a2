"""Emulated processors and what sets them apart: counts that repeat, kernels of their own."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgepack.devices import Job, qemu
from edgepack.devices.cpus import CPUS
from edgepack.devices.open import open_channel
from edgepack.devices.work import execute
from edgepack.errors import HostError
from edgepack.types import EXACT_INT8, SessionSettings

RUNTIME = "1.31.1"
DEPTH = 64
TRUTH = 255 * 127 * DEPTH

pytestmark = pytest.mark.emulated


def save(path, operator, inputs, left, right, result):
    """Write a model of one operator with `right` as its constant."""
    shape = [left.shape[0], right.shape[1]]
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"])],
        "g",
        [
            helper.make_tensor_value_info(
                "x", helper.np_dtype_to_tensor_dtype(left.dtype), left.shape
            )
        ],
        [helper.make_tensor_value_info("y", result, shape)],
        [onnx.numpy_helper.from_array(right, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def floats(folder, size):
    x = np.ones((size, size), np.float32)
    path = save(folder / "floats.onnx", "MatMul", ["x", "w"], x, x, TensorProto.FLOAT)
    return path, {"x": x}


def integers(folder, size):
    """Every u8 is 255 and every s8 is 127: two products no longer fit the 16 bits of a pair."""
    x = np.full((size, DEPTH), 255, np.uint8)
    weight = np.full((DEPTH, size), 127, np.int8)
    path = folder / "integers.onnx"
    save(path, "MatMulInteger", ["x", "w"], x, weight, TensorProto.INT32)
    return path, {"x": x}


def answer(cpu, model, inputs, **fields):
    fields = {"session": SessionSettings(), **fields}
    channel = open_channel(f"qemu:{cpu}", runtime=RUNTIME)
    try:
        return execute(channel, Job(model=model, vectors=[inputs], **fields))
    finally:
        channel.close()


def counted(cpu, model, inputs):
    told = answer(cpu, model, inputs, count=True)
    assert told.not_counted == ""
    return told


def test_five_runs_count_one_number_and_more_work_counts_more(tmp_path):
    model, inputs = floats(tmp_path, 16)
    counts = [counted("cortex-a72", model, inputs).instructions for _ in range(5)]
    assert len(set(counts)) == 1
    more = counted("cortex-a72", *floats(tmp_path, 64)).instructions
    # An instruction adds four products at most.
    assert more - counts[0] > (64**3 - 16**3) / 4


def test_integers_are_exact_on_arm_and_cheaper_with_the_dot_product(tmp_path):
    model, inputs = integers(tmp_path, 64)
    plain = counted("cortex-a72", model, inputs)
    dotted = counted("cortex-a76", model, inputs)
    for told in (plain, dotted):
        assert (told.outputs[0]["y"] == TRUTH).all()
    assert dotted.instructions < 0.8 * plain.instructions


def test_x86_without_vnni_saturates_and_the_setting_prevents_it(tmp_path):
    model, inputs = integers(tmp_path, 8)
    usual = answer("Haswell", model, inputs).outputs[0]["y"]
    assert (usual < TRUTH).all()
    exact = answer("Haswell", model, inputs, session=SessionSettings(entries=EXACT_INT8))
    assert (exact.outputs[0]["y"] == TRUTH).all()


def test_each_processor_has_a_digest_of_its_own():
    digests = set()
    for cpu in CPUS:
        if CPUS[cpu].arch == "aarch64":
            channel = open_channel(f"qemu:{cpu}", runtime=RUNTIME)
            digests.add(channel.info().digest)
            channel.close()
    assert len(digests) == sum(cpu.arch == "aarch64" for cpu in CPUS.values())


def test_without_a_compiler_the_run_happens_and_says_why_it_was_not_counted(tmp_path, monkeypatch):
    def refuse(folder):
        raise HostError("E316", "no compiler", why="gcc is gone", fix="install gcc")

    monkeypatch.setattr(qemu, "build_plugin", refuse)
    model, inputs = floats(tmp_path, 4)
    told = answer("cortex-a72", model, inputs, count=True)
    np.testing.assert_array_equal(told.outputs[0]["y"], np.full((4, 4), 4, np.float32))
    assert told.instructions is None
    assert "no compiler" in told.not_counted
    assert "install gcc" in told.not_counted


def test_a_plugin_that_does_not_load_costs_the_count_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(qemu, "build_plugin", lambda folder: tmp_path / "missing.so")
    model, inputs = floats(tmp_path, 4)
    told = answer("cortex-a72", model, inputs, count=True)
    np.testing.assert_array_equal(told.outputs[0]["y"], np.full((4, 4), 4, np.float32))
    assert told.instructions is None
    assert "plugin" in told.not_counted
