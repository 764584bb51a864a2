import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError
from onnx import TensorProto, helper, numpy_helper

from edgepack.errors import ModelError
from edgepack.graph import Graph, weights
from edgepack.graph.runner import ChildRunner

from .build import parsed


def wide() -> onnx.ModelProto:
    """y = relu(x @ a @ b + c): two weights of 4 kB and 16 kB, and one that stays inside."""
    model = parsed(
        """wide (float[N,16] x) => (float[N,64] y) {
        s = MatMul(x, a) t = MatMul(s, b) u = Add(t, c) y = Relu(u) }"""
    )
    random = np.random.default_rng(3)
    shapes = {"a": (16, 64), "b": (64, 64), "c": (64,)}
    arrays = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return model


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(weights, "SINGLE_FILE", 4096)
    return Graph.from_proto(wide())


def test_a_small_model_is_one_file(tmp_path):
    graph = Graph.from_proto(wide())
    graph.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["graph.json", "model.onnx"]
    data = graph.proto().SerializeToString(deterministic=True)
    assert (tmp_path / "model.onnx").read_bytes() == data


def test_large_weights_lie_beside_the_model_and_small_ones_inside(large, tmp_path):
    large.save(tmp_path)
    proto = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    places = {t.name: {e.key: e.value for e in t.external_data} for t in proto.graph.initializer}
    assert places == {
        "a": {"location": "model.onnx.data", "offset": "0", "length": "4096"},
        "b": {"location": "model.onnx.data", "offset": "4096", "length": "16384"},
        "c": {},
    }
    onnx.load_external_data_for_model(proto, str(tmp_path))
    arrays = [numpy_helper.to_array(t) for t in wide().graph.initializer]
    for tensor, array in zip(proto.graph.initializer, arrays, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), array)


def test_weights_begin_at_a_page(large, tmp_path):
    value = large.model.graph.initializers["a"]
    import onnx_ir as ir

    value.const_value = ir.tensor(np.ones((16, 63), np.float32), name="a")
    layout = weights.lay_out(large.model)
    assert [offset for offset, _ in layout.beside] == [0, 4096]
    assert sum(map(len, layout.data())) == 4096 + 16384


def test_the_same_graph_gives_the_same_bytes_and_size(large, tmp_path):
    names = ("model.onnx", "model.onnx.data")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    large.write(tmp_path / "one" / "model.onnx")
    large.copy().save(tmp_path / "two")
    one, two = ([(tmp_path / f / n).read_bytes() for n in names] for f in ("one", "two"))
    assert one == two
    assert large.facts()["bytes"] == sum(map(len, one))


def test_a_large_graph_survives_its_folder(large, tmp_path):
    large.save(tmp_path)
    again = Graph.load(tmp_path)
    assert again.digest == large.digest
    for file in tmp_path.iterdir():
        file.unlink()
    assert again.copy().digest == large.digest
    assert again.facts() == large.facts()


def test_a_graph_may_be_saved_over_the_weights_that_it_maps(large, tmp_path):
    large.save(tmp_path)
    again = Graph.load(tmp_path)
    again.save(tmp_path)
    assert Graph.load(tmp_path).digest == large.digest


def test_weights_that_stay_are_not_written_again(large, tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "three", "less", "other", "written")]
    for folder in folders:
        folder.mkdir()
    large.save(folders[0])
    graph = Graph.load(folders[0])
    graph.copy().save(folders[1])
    (folders[0] / "model.onnx.data").unlink()
    graph.save(folders[2])
    less, other = graph.copy(), graph.copy()
    import onnx_ir as ir

    less.model.graph.initializers["b"].const_value = ir.tensor(np.ones(2, np.float32), name="b")
    value = other.model.graph.initializers["a"]
    value.const_value = ir.tensor(value.const_value.numpy() + 1, name="a")
    less.save(folders[3])
    other.save(folders[4])
    graph.write(folders[5] / "model.onnx")
    files = [(folder / "model.onnx.data") for folder in folders[1:]]
    one, again, cut, changed, written = (file.stat() for file in files)
    assert one.st_ino == again.st_ino
    assert len({one.st_ino, cut.st_ino, changed.st_ino, written.st_ino}) == 4
    assert [cut.st_size, changed.st_size] == [4096, 4096 + 16384]
    assert Graph.load(folders[2]).digest == large.digest
    assert Graph.load(folders[4]).digest == other.digest != large.digest


def test_other_weights_give_another_digest(large):
    other = large.copy()
    import onnx_ir as ir

    value = other.model.graph.initializers["b"]
    value.const_value = ir.tensor(value.const_value.numpy() + 1, name="b")
    assert other.digest != large.digest


@pytest.mark.parametrize("left", [0, 20479, None])
def test_weights_that_are_cut_short_are_refused(large, tmp_path, left):
    large.save(tmp_path)
    data = tmp_path / "model.onnx.data"
    if left is None:
        data.unlink()
    else:
        data.write_bytes(data.read_bytes()[:left])
    with pytest.raises(ModelError, match="missing or cut short") as caught:
        Graph.load(tmp_path)
    assert caught.value.code == "E428"


def test_a_message_that_protobuf_cannot_write_is_refused(large, tmp_path, monkeypatch):
    class Vast:
        def SerializeToString(self, *, deterministic):  # noqa: N802  protobuf's name
            raise EncodeError("Failed to serialize proto")

    monkeypatch.setattr(weights, "to_proto", lambda model: Vast())
    with pytest.raises(ModelError, match="larger than the 2 GiB") as caught:
        large.save(tmp_path)
    assert caught.value.code == "E427"


def test_a_smaller_model_takes_the_place_of_a_large_one(large, tmp_path, monkeypatch):
    large.write(tmp_path / "model.onnx")
    monkeypatch.undo()
    large.write(tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_the_runner_runs_it(large, monkeypatch):
    x = {"x": np.ones((2, 16), np.float32)}
    with ChildRunner().open(large) as session:
        beside = session.run(x)["y"]
    monkeypatch.undo()
    with ChildRunner().open(large) as session:
        np.testing.assert_array_equal(session.run(x)["y"], beside)


def test_a_message_survives_its_files(large, tmp_path):
    proto = large.proto()
    weights.save_proto(proto, tmp_path / "in.onnx")
    assert (tmp_path / "in.onnx.data").exists()
    again = weights.load_proto(tmp_path / "in.onnx")
    assert again.SerializeToString(deterministic=True) == proto.SerializeToString(
        deterministic=True
    )


def test_types_narrower_than_a_byte_are_mapped(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "SINGLE_FILE", 512)
    model = parsed("g (float[1] x) => (float[1] y) { y = Identity(x) }", opset=21)
    raw = np.arange(2048, dtype=np.uint32).astype(np.uint8).tobytes()
    model.graph.initializer.append(
        helper.make_tensor("w", TensorProto.INT4, [64, 64], raw, raw=True)
    )
    graph = Graph.from_proto(model)
    graph.save(tmp_path)
    again = Graph.load(tmp_path)
    assert again.digest == graph.digest
    assert again.proto().graph.initializer[0].raw_data == raw
