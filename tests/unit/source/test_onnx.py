"""A foreign file comes in through a child, and its digest follows all that decides it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepack.base import Context
from edgepack.child import Limits
from edgepack.errors import ModelError, UsageError
from edgepack.source.onnx import OnnxSource


class Notes:
    def __init__(self):
        self.notes = []

    def progress(self, what, done, total):
        pass

    def note(self, text):
        self.notes.append(text)

    def decision(self, value):
        pass


@pytest.fixture
def context(tmp_path):
    (tmp_path / "work").mkdir()
    return Context(work=tmp_path / "work", seed=0, data={}, runner=None, events=Notes())


def scaled(weight):
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "scaled",
        [helper.make_tensor_value_info("x", 1, ["n", 2])],
        [helper.make_tensor_value_info("y", 1, ["n", 2])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def inline():
    return scaled(numpy_helper.from_array(np.array([1, 2], np.float32), "w"))


def beside():
    weight = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.bin")
    return scaled(weight)


@pytest.fixture
def write(tmp_path):
    def write_model(model):
        path = tmp_path / "scaled.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write_model


def test_it_loads_what_the_child_rewrote(write, context):
    source = OnnxSource(write(inline()))
    graph = source.load(context)
    assert (source.name, source.gives, graph.scheme) == ("scaled", "graph", "float")
    assert [str(s) for s in graph.inputs] == ["x: float32[n, 2]"]
    assert context.events.notes == []


def test_a_refusal_keeps_its_code_and_words(write, context):
    with pytest.raises(ModelError, match="`w` are refused") as caught:
        OnnxSource(write(beside())).load(context)
    assert (caught.value.code, caught.value.status) == ("E407", 4)
    assert "w.bin" in caught.value.why
    assert "plain file" in caught.value.fix


def test_external_weights_are_a_part_of_the_digest(write, tmp_path, context):
    path = write(beside())
    (tmp_path / "w.bin").write_bytes(np.array([1, 2], np.float32).tobytes())
    (tmp_path / "other.bin").write_bytes(b"1")
    first = OnnxSource(path).digest
    (tmp_path / "other.bin").write_bytes(b"2")
    assert OnnxSource(path).digest == first
    (tmp_path / "w.bin").write_bytes(np.array([1, 3], np.float32).tobytes())
    assert OnnxSource(path).digest != first
    weight = OnnxSource(path).load(context).model.graph.initializers["w"].const_value
    assert weight.numpy().tolist() == [1, 3]


def test_files_beside_a_model_that_has_no_external_weights_do_not_matter(write, tmp_path):
    path = write(inline())
    (tmp_path / "w").write_bytes(b"1")
    first = OnnxSource(path).digest
    (tmp_path / "w").write_bytes(b"2")
    assert OnnxSource(path).digest == first


@pytest.mark.parametrize("name", ["missing.onnx", "empty.onnx", "folder.onnx"])
def test_nothing_to_load_is_an_error(tmp_path, name):
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UsageError, match=name) as caught:
        OnnxSource(tmp_path / name)
    assert caught.value.code == "E268"


def test_a_file_that_takes_too_long_is_an_error(write, context):
    with pytest.raises(ModelError, match=r"scaled\.onnx cannot be read") as caught:
        OnnxSource(write(inline()), Limits(seconds=0.01)).load(context)
    assert caught.value.code == "E411"
    assert "deadline" in caught.value.why
