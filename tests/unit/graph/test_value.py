import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgepack.errors import ModelError
from edgepack.graph import FLOAT_TOLERANCE, Graph
from edgepack.types import TensorSpec, Tolerance

from .build import linear, parsed


@pytest.fixture
def graph():
    return Graph.from_proto(linear())


def test_specs_name_dynamic_axes_and_leave_weights_out():
    model = linear()
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [2, 3]))
    graph = Graph.from_proto(model)
    assert graph.inputs == (TensorSpec(name="x", dtype="float32", shape=("N", 2)),)
    assert graph.outputs == (TensorSpec(name="y", dtype="float32", shape=("N", 3)),)


def test_an_unnamed_axis_is_called_after_its_place():
    graph = Graph.from_proto(parsed("g (int64[?,4,?] ids) => (int64[?,4,?] y) {y = Identity(ids)}"))
    assert graph.inputs[0].shape == ("ids_dim0", 4, "ids_dim2")


def test_an_input_without_a_rank_is_refused():
    graph = Graph.from_proto(parsed("g (float[] x) => (float[1] y) { y = Relu(x) }"))
    graph.model.graph.inputs[0].shape = None
    with pytest.raises(ModelError, match="`x` has no rank") as caught:
        _ = graph.inputs
    assert caught.value.code == "E410"


def test_facts_count_what_is_there(graph):
    facts = graph.facts()
    assert (facts["parameters"], facts["nodes"]) == (6, 2)
    assert facts["operators"] == {"MatMul": 1, "Relu": 1}
    assert facts["bytes"] == len(graph.proto().SerializeToString())


def test_facts_see_into_subgraphs():
    graph = Graph.from_proto(
        parsed(
            """g (bool c, float[1] x) => (float[1] y) {
            y = If (c) <then_branch = a () => (float[1] p) { p = Neg(x) },
                        else_branch = b () => (float[1] q) { q = Abs(x) }>
        }"""
        )
    )
    assert graph.facts()["operators"] == {"Abs": 1, "If": 1, "Neg": 1}


def test_a_copy_can_be_edited_without_touching_the_original(graph):
    before = graph.digest
    copy = graph.copy()
    assert copy.digest == before
    copy.model.graph.initializers["w"].const_value = None
    copy.model.graph.inputs[0].name = "z"
    copy.model.graph.remove(copy.model.graph[1])
    assert graph.digest == before


def test_a_graph_survives_its_folder(graph, tmp_path):
    kept = graph.replace(scheme="w8a8-static", tolerance=Tolerance(exact=True))
    kept.save(tmp_path)
    again = Graph.load(tmp_path)
    assert (again.digest, again.scheme, again.tolerance) == (
        graph.digest,
        "w8a8-static",
        Tolerance(exact=True),
    )


def test_a_file_is_the_same_each_time(graph, tmp_path):
    graph.write(tmp_path / "a.onnx")
    graph.copy().write(tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    onnx.checker.check_model(tmp_path / "a.onnx", full_check=True)


def test_value_info_of_weights_is_left_out_and_of_others_kept():
    model = linear()
    model.graph.value_info.append(helper.make_tensor_value_info("w", 1, [9, 9]))
    model.graph.value_info.append(helper.make_tensor_value_info("t", 1, ["N", 3]))
    proto = Graph.from_proto(model).proto()
    assert [v.name for v in proto.graph.value_info] == ["t"]


def test_replace_keeps_the_rest(graph):
    assert graph.replace(scheme="fp16").tolerance == FLOAT_TOLERANCE
    assert graph.replace(scheme="fp16").model is graph.model


def test_a_proto_is_a_copy(graph):
    proto = graph.proto()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros(6, np.float32), "w"))
    assert graph.facts()["parameters"] == 6
    assert graph.proto().graph.initializer[0].dims == [2, 3]
