"""One suite that every channel passes, whatever it leads to."""

from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgepack.devices import Answer, DeviceFailure, DeviceInfo, Job
from edgepack.devices.open import open_channel
from edgepack.devices.work import execute
from edgepack.types import SessionSettings

RUNTIME = "1.31.1"
WEIGHT = np.array([[2, -1, 0], [1, 1, -3], [0, 4, 1], [-2, 0, 5]], np.float32)
VECTORS = [
    {"x": np.arange(8, dtype=np.float32).reshape(2, 4) - 3},
    {"x": np.array([[-1, 7, 0, 2]], np.float32)},
    {"x": np.zeros((0, 4), np.float32)},
    {"x": np.arange(20, dtype=np.float32).reshape(4, 5).T},
]
"""Whole numbers: whatever the order in which a processor adds them up, the sum is one."""


CHANNELS = [
    "local",
    *(
        pytest.param(f"qemu:{cpu}", marks=pytest.mark.emulated)
        for cpu in ("cortex-a53", "cortex-a72", "cortex-a76", "neoverse-n1")
    ),
    pytest.param("qemu:Haswell", marks=pytest.mark.emulated),
]


def save(path, nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nowhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def flag(name):
    return helper.make_tensor_value_info(name, TensorProto.BOOL, [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def layer(folder):
    """``y = relu(x @ WEIGHT)`` and ``z = x``."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
        helper.make_node("Identity", ["x"], ["z"]),
    ]
    weight = onnx.numpy_helper.from_array(WEIGHT, "w")
    outputs = [floats("y", "n", 3), floats("z", "n", 4)]
    return save(folder / "layer.onnx", nodes, [floats("x", "n", 4)], outputs, [weight])


@pytest.fixture(scope="module")
def unknown(folder):
    """A model of an operator that no runtime has."""
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="nowhere")
    return save(folder / "unknown.onnx", [node], [floats("x", "n", 4)], [floats("y", "n", 4)])


@pytest.fixture(scope="module")
def endless(folder):
    """A loop whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["a"], ["b"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), flag("go"), floats("a", 1)],
        [flag("on"), floats("b", 1)],
    )
    loop = helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)
    return save(folder / "endless.onnx", [loop], [flag("true"), floats("x", 1)], [floats("y", 1)])


@dataclass(frozen=True)
class Story:
    """What a channel told and did from its opening to its close."""

    name: str
    real_clock: bool
    counts: bool
    infos: tuple[DeviceInfo, DeviceInfo]
    answer: Answer
    folders_before_close: int
    folders_after_close: int


@pytest.fixture(scope="module", params=CHANNELS)
def named(request):
    return request.param


@pytest.fixture
def channel(named):
    channel = open_channel(named, runtime=RUNTIME)
    yield channel
    channel.close()


@pytest.fixture(scope="module")
def story(named, layer, tmp_path_factory):
    place = tmp_path_factory.mktemp("temporary")

    def folders():
        return len([path for path in place.iterdir() if "locks" not in path.name])

    job = Job(model=layer, session=SessionSettings(), vectors=VECTORS, count=True, rounds=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(place))
        channel = open_channel(named, runtime=RUNTIME)
        try:
            first = channel.info()
            answer = execute(channel, job)
            infos, before = (first, channel.info()), folders()
        finally:
            channel.close()
        after = folders()
    return Story(channel.name, channel.real_clock, channel.counts, infos, answer, before, after)


def test_it_has_the_name_that_it_was_opened_by(named, story):
    assert story.name == named


def test_info_is_complete(story):
    info = story.infos[0]
    assert info.cpu
    assert info.arch in {"aarch64", "x86_64"}
    assert info.features
    assert len(info.features) == len(set(info.features))
    assert len(bytes.fromhex(info.digest)) == 32
    assert info.emulator.startswith("qemu ") if "qemu" in story.name else not info.emulator


def test_info_is_of_the_runtime_that_answers(story):
    info = story.infos[0]
    chosen = info.emulator and info.arch == "aarch64"
    assert info.runtime == f"onnxruntime {RUNTIME if chosen else version('onnxruntime')}"
    assert story.answer.runtime == info.runtime


def test_info_is_stable(story, channel):
    assert story.infos[0] == story.infos[1] == channel.info()


def test_answers_are_those_of_numpy(story):
    assert len(story.answer.outputs) == len(VECTORS)
    for inputs, outputs in zip(VECTORS, story.answer.outputs):
        assert list(outputs) == ["y", "z"]
        assert {array.dtype for array in outputs.values()} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(outputs["y"], np.maximum(inputs["x"] @ WEIGHT, 0))
        np.testing.assert_array_equal(outputs["z"], inputs["x"])


def test_instructions_are_counted_where_they_can_be(story):
    if story.counts:
        assert story.answer.not_counted == ""
        assert 1000 < story.answer.instructions < 10_000_000
    else:
        assert story.answer.instructions is None
        assert story.answer.not_counted


def test_times_are_told_where_the_clock_is_real(story):
    assert len(story.answer.latency_ns) == (3 if story.real_clock else 0)
    assert all(0 < time < 10**9 for time in story.answer.latency_ns)


def test_memory_is_at_least_what_an_interpreter_takes(story):
    assert 10 << 20 < story.answer.memory_bytes < 8 << 30


def test_close_removes_all_folders(story):
    assert story.folders_before_close > 0
    assert story.folders_after_close == 0


def test_a_push_replaces_what_was_there(channel, tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(name)
    channel.push({"a": tmp_path / "one", "b": tmp_path / "two"})
    channel.push({"a": tmp_path / "three"})
    channel.pull("a", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "three"
    with pytest.raises(DeviceFailure) as caught:
        channel.pull("b", tmp_path / "back")
    assert caught.value.reason == "error"


def test_a_refused_model_is_a_finding_that_names_its_cause(channel, unknown):
    job = Job(model=unknown, session=SessionSettings(), vectors=VECTORS[:1], count=True)
    with pytest.raises(DeviceFailure) as caught:
        execute(channel, job)
    assert caught.value.reason == "error"
    assert "Frobnicate" in caught.value.detail


def test_an_endless_model_misses_its_deadline(channel, endless):
    inputs = {"true": np.array(True), "x": np.ones(1, np.float32)}
    seconds = 3 if channel.real_clock else 5
    job = Job(model=endless, session=SessionSettings(), vectors=[inputs], seconds=seconds)
    with pytest.raises(DeviceFailure) as caught:
        execute(channel, job)
    assert caught.value.reason == "deadline"
    assert f"{seconds} s" in caught.value.detail
