"""An artifact whose weights lie beside its model."""

from itertools import pairwise

import numpy as np
import pytest

import edgepack
from edgepack.artifact import Artifact, unpack
from edgepack.errors import ArtifactError, ModelError
from edgepack.graph import Graph, weights
from edgepack.graph.runner import ChildRunner
from edgepack.pack import pack as module
from edgepack.pack.pack import Pack
from edgepack.types import Sample

from .scene import FakeSamples, context

PACK = Pack(artifact="wide", target="x86", arch="x86_64", state={"h": "y"})
WIDTH = 32


def wide() -> Graph:
    """y = tanh((x + h) @ w), where h is the y of the run before."""
    from onnx import TensorProto, helper, numpy_helper

    array = np.random.default_rng(5).standard_normal((WIDTH, WIDTH)).astype(np.float32)
    x, h, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", WIDTH]) for n in "xhy")
    nodes = [
        helper.make_node("Add", ["x", "h"], ["s"], name="add"),
        helper.make_node("MatMul", ["s", "w"], ["m"], name="product"),
        helper.make_node("Tanh", ["m"], ["y"], name="tanh"),
    ]
    graph = helper.make_graph(nodes, "wide", [x, h], [y], [numpy_helper.from_array(array, "w")])
    opset = helper.make_opsetid("", 20)
    return Graph.from_proto(helper.make_model(graph, opset_imports=[opset], ir_version=9))


def frames() -> FakeSamples:
    random = np.random.default_rng(6)
    rows = [random.standard_normal((1, WIDTH)).astype(np.float32) for _ in range(3)]
    zero = np.zeros((1, WIDTH), np.float32)
    return FakeSamples((Sample(tuple({"x": x, "h": zero} for x in rows), state={"h": "y"}),))


@pytest.fixture
def artifact(tmp_path, monkeypatch) -> Artifact:
    monkeypatch.setattr(weights, "SINGLE_FILE", 2048)
    work = context(tmp_path / "work", data={"evaluation": frames()})
    return PACK.model_copy(update={"ort": True}).apply(wide(), with_runner(work))


def with_runner(work):
    from dataclasses import replace

    return replace(work, runner=ChildRunner())


def test_the_weights_are_an_entry_of_their_own(artifact):
    sizes = {record.name: record.size for record in artifact.manifest.files}
    assert sizes["model.onnx.data"] == WIDTH * WIDTH * 4
    assert sizes["model.onnx"] < 1024
    assert "model.ort" not in sizes


def test_it_is_verified_loaded_and_unpacked(artifact, tmp_path):
    assert edgepack.verify(artifact.path, on=["local"]).verdict == "pass"
    inputs, outputs = artifact.vectors()[1]
    with edgepack.load(artifact.path) as loaded:
        np.testing.assert_allclose(loaded.run(inputs)["y"], outputs["y"], rtol=1e-6)
    unpack(artifact, tmp_path / "out")
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size == WIDTH * WIDTH * 4


def test_a_tampered_weight_is_refused(artifact):
    data = bytearray(artifact.path.read_bytes())
    entry = next(e for e in artifact.entries if e.name == "model.onnx.data")
    data[entry.offset + 7] ^= 1
    artifact.path.write_bytes(data)
    with pytest.raises(ArtifactError, match="damaged") as caught:
        Artifact.open(artifact.path)
    assert (caught.value.code, caught.value.where) == ("E605", "model.onnx.data")


def test_later_frames_carry_the_state(artifact):
    pairs = artifact.vectors()
    assert not pairs[0][0]["h"].any()
    for (_, before), (inputs, _) in pairwise(pairs):
        np.testing.assert_array_equal(inputs["h"], before["y"])
    assert artifact.manifest.state == {"h": "y"}
    assert "feed `y` into `h` of the next run" in artifact.read("README.md").decode()


def test_a_manifest_without_a_state_has_no_such_field(tmp_path):
    plain = PACK.model_copy(update={"state": {}})
    work = with_runner(context(tmp_path / "work", data={"evaluation": frames()}))
    assert b'"state":{"' not in plain.apply(wide(), work).read("manifest.json")


def test_a_state_that_is_no_input_is_refused(tmp_path):
    odd = PACK.model_copy(update={"state": {"g": "y"}})
    work = with_runner(context(tmp_path / "work", data={"evaluation": frames()}))
    with pytest.raises(ArtifactError, match="breaks a rule") as caught:
        odd.apply(wide(), work)
    assert caught.value.code == "E630"


def test_weights_that_no_artifact_holds_are_refused_before_they_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", WIDTH)
    with pytest.raises(ModelError) as caught:
        PACK.apply(wide(), context(tmp_path / "work"))
    assert caught.value.code == "E426"
    assert not list((tmp_path / "work").iterdir())
