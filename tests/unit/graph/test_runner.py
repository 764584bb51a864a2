import time

import numpy as np
import pytest

from edgepack.child import Limits
from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner

from .build import endless, linear, parsed

ROW = {"x": np.array([[1, 2]], np.float32)}
RUNNER = ChildRunner(Limits(seconds=30))


def test_it_answers_by_name():
    with RUNNER.open(Graph.from_proto(linear())) as session:
        assert session.outputs == ("y",)
        np.testing.assert_array_equal(session.run(ROW)["y"], [[0, 3, 6]])
        transposed = {"x": np.array([[1, 2], [3, 4]], np.float32).T}
        np.testing.assert_array_equal(session.run(transposed, ("y",))["y"], [[1, 5, 9], [0, 6, 12]])


def test_scalars_empty_arrays_and_booleans_travel():
    model = parsed("g (bool[N] m, int64 k) => (bool[N] a, int64 b) {a = Not(m) b = Identity(k)}")
    with RUNNER.open(Graph.from_proto(model)) as session:
        found = session.run({"m": np.array([True, False]), "k": np.array(7)})
        assert found["a"].tolist() == [False, True]
        assert (found["b"].shape, found["b"].dtype, int(found["b"])) == ((), np.int64, 7)
        empty = session.run({"m": np.zeros(0, bool), "k": np.array(1)})
        assert empty["a"].shape == (0,)


def test_a_file_runs_too(tmp_path):
    Graph.from_proto(linear()).write(tmp_path / "linear.onnx")
    with RUNNER.open(tmp_path / "linear.onnx") as session:
        assert session.run(ROW)["y"].shape == (1, 3)


def test_what_does_not_load_is_named(tmp_path):
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(ModelError, match=r"cannot load `noise.onnx`") as caught:
        RUNNER.open(tmp_path / "noise.onnx").__enter__()
    assert caught.value.code == "E420"


def test_wrong_inputs_are_an_error_and_the_session_lives_on():
    with RUNNER.open(Graph.from_proto(linear())) as session:
        with pytest.raises(ModelError, match=r"`linear` does not run on x: float32\[1, 3\]") as one:
            session.run({"x": np.zeros((1, 3), np.float32)})
        with pytest.raises(ModelError, match="input `x` has the type object") as two:
            session.run({"x": np.array([["text", None]], dtype=object)})
        assert (one.value.code, two.value.code) == ("E424", "E424")
        assert session.run(ROW)["y"].shape == (1, 3)


def test_an_endless_loop_is_stopped_by_the_deadline():
    model = endless()
    assert model.ByteSize() < 500
    began = time.monotonic()
    with ChildRunner(Limits(seconds=3)).open(Graph.from_proto(model)) as session:
        with pytest.raises(ModelError, match="`endless` does not come to an end") as caught:
            session.run({"x": np.ones(1, np.float32)})
        assert caught.value.code == "E422"
    assert time.monotonic() - began < 10


def test_a_glutton_is_stopped_by_its_memory():
    model = parsed(
        """glutton (int64[1] n) => (float s) {
            big = ConstantOfShape <value = float[1] {1.0}> (n)
            s = ReduceSum <keepdims = 0> (big)
        }"""
    )
    with ChildRunner(Limits(seconds=30, memory=4 << 30)).open(Graph.from_proto(model)) as session:
        with pytest.raises(ModelError, match="`glutton` needs more memory") as caught:
            session.run({"n": np.array([1 << 32])})
        assert caught.value.code == "E423"
