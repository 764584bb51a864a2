import numpy as np
import pytest

from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.examples import example_inputs, workable_sizes
from edgepack.graph.gate import admit
from edgepack.graph.runner import ChildRunner
from edgepack.types import TensorSpec

from .build import linear, parsed, real

RUNNER = ChildRunner()


def spec(name, dtype, *shape):
    return TensorSpec(name=name, dtype=dtype, shape=shape)


IDS = spec("input_ids", "int64", "batch", "sequence")
MASK = spec("attention_mask", "int64", "batch", "sequence")
PICTURE = spec("pixels", "float32", "n", 3, "height", "width")


def test_each_kind_of_input_looks_like_itself():
    types = spec("token_type_ids", "int64", "batch", "sequence")
    flag = spec("flag", "bool", 2)
    found = example_inputs((IDS, MASK, types, flag, PICTURE), seed=0)
    assert {k: v.shape for k, v in found.items()} == {
        "input_ids": (1, 8),
        "attention_mask": (1, 8),
        "token_type_ids": (1, 8),
        "flag": (2,),
        "pixels": (1, 3, 32, 32),
    }
    assert set(found["input_ids"].ravel()) <= set(range(10))
    assert len(set(found["input_ids"].ravel())) > 2
    assert found["attention_mask"].all()
    assert not found["token_type_ids"].any()
    assert found["flag"].all()
    assert abs(float(found["pixels"].std()) - 1) < 0.1
    assert [v.dtype.name for v in found.values()] == ["int64"] * 3 + ["bool", "float32"]


def test_the_seed_and_the_name_decide_and_nothing_else():
    alone = example_inputs((IDS,), seed=3)["input_ids"]
    beside = example_inputs((PICTURE, MASK, IDS), seed=3)["input_ids"]
    np.testing.assert_array_equal(alone, beside)
    assert (alone != example_inputs((IDS,), seed=4)["input_ids"]).any()
    assert (alone != example_inputs((spec("x", "int64", 1, 8),), seed=3)["x"]).any()


def test_sizes_are_obeyed_and_sums_add_up():
    past = spec("past", "float32", "batch", 2, "past_length", 4)
    mask = spec("mask", "int64", "batch", "past_length + sequence + 1")
    sizes = {"batch": 2, "past_length": 5, "sequence": 3}
    found = example_inputs((IDS, past, mask), 0, sizes)
    assert found["input_ids"].shape == (2, 3)
    assert found["past"].shape == (2, 2, 5, 4)
    assert found["mask"].shape == (2, 9)


def test_a_graph_that_takes_any_size_is_tried_at_three():
    found = workable_sizes(Graph.from_proto(linear()), RUNNER)
    assert found == ({"N": 1}, {"N": 2}, {"N": 3})


def test_a_fixed_graph_has_one_assignment():
    graph = Graph.from_proto(parsed("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    assert workable_sizes(graph, RUNNER) == ({},)


def test_sizes_that_a_graph_insists_on_are_found():
    ones = ", ".join(["1"] * 128)
    body = """g (float[N,L] x) => (float[N,K] y) {
        shape = Constant <value = int64[2] {-1, 64}> ()
        two = Constant <value = float[64,2] {ONES}> ()
        r = Reshape(x, shape) y = MatMul(r, two) }"""
    found = workable_sizes(Graph.from_proto(parsed(body.replace("ONES", ones))), RUNNER)
    assert found[0] == {"N": 1, "L": 64}
    assert len(found) == 3


def test_a_graph_that_runs_on_none_gives_none():
    body = """g (float[N,L] x) => (float[N,L] y) {
        c = Constant <value = float[3,5] {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}> ()
        t = Transpose(x) m = MatMul(c, t) y = MatMul(t, c) }"""
    assert workable_sizes(Graph.from_proto(parsed(body)), RUNNER) == ()


def test_a_graph_that_does_not_load_is_an_error():
    graph = Graph.from_proto(parsed("g (float[2] x) => (float[2] y) { y = Relu(x, x) }"))
    with pytest.raises(ModelError) as caught:
        workable_sizes(graph, RUNNER)
    assert caught.value.code == "E420"


@pytest.mark.parametrize("path", real("silero_vad*k_op15.onnx") + real("*cls*.onnx"))
def test_real_models_run_at_three_sizes(path):
    assert len(workable_sizes(admit(path), RUNNER)) == 3
