"""A foreign file comes in through a child, and its digest follows all that decides it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from edgepack.base import Context
from edgepack.child import Limits
from edgepack.errors import ModelError, UsageError
from edgepack.source.onnx import OnnxSource
from edgepack.source.reference import open_source


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
    with pytest.raises(ModelError, match=r"weights are missing: `w\.bin`") as caught:
        OnnxSource(write(beside())).load(context)
    assert (caught.value.code, caught.value.status) == ("E418", 4)
    assert "1 of 1 tensors" in caught.value.why
    assert "into the model's folder" in caught.value.fix


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


def test_what_the_gate_notes_is_passed_on(write, context):
    model = inline()
    model.training_info.add()
    OnnxSource(write(model)).load(context)
    assert context.events.notes == ["scaled.onnx carries training_info, which is left out"]


def test_a_loop_without_an_end_is_known_before_any_work(write, context):
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> endless (float[1] x) => (float[1] y) {
            count = Constant <value_int = 9223372036854775807> ()
            true = Constant <value = bool {1}> ()
            y = Loop (count, true, x) <body = spin (int64 i, bool c, float[1] a)
                => (bool d, float[1] b) { d = Identity(c) b = Identity(a) }> }"""
    )
    with pytest.raises(ModelError, match="does not come to an end") as caught:
        OnnxSource(write(model), patience=1.0).load(context)
    assert (caught.value.code, caught.value.why) == ("E422", "no answer within 1 s")


def test_a_folder_with_one_model_stands_for_it(write, tmp_path):
    path = write(inline())
    source = open_source(".", tmp_path, task=None, seed=0)
    assert isinstance(source, OnnxSource)
    assert source.path == path
    (tmp_path / "other.onnx").write_bytes(b"1")
    with pytest.raises(UsageError) as caught:
        open_source(".", tmp_path, task=None, seed=0)
    assert caught.value.fix == "name one of its files: other.onnx, scaled.onnx"
