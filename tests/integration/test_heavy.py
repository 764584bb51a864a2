"""A model over 2 GiB, end to end. It takes 10 GB of memory and 20 GB of disk."""

from pathlib import Path

import numpy as np
import pytest

import edgepack
from edgepack.artifact import Artifact
from edgepack.base import Context, Silent
from edgepack.graph.runner import ChildRunner
from edgepack.optimize.sanitise import Sanitise
from edgepack.optimize.simplify import Simplify
from edgepack.pack.pack import Pack
from edgepack.quantize.quantize import Quantize
from edgepack.source.onnx import OnnxSource
from edgepack.types import Sample

pytestmark = pytest.mark.full
WIDTH, LAYERS = 10240, 6


def heavy(folder: Path) -> Path:
    """Write a stack of layers, 2.5 GB of float32, in a file beside the model."""
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(7)
    row = random.standard_normal(2 * WIDTH).astype(np.float32) / np.float32(WIDTH**0.5)
    size = WIDTH * WIDTH * 4
    nodes, tensors = [], []
    with (folder / "weights.bin").open("wb") as stream:
        for layer in range(LAYERS):
            for line in range(WIDTH):
                start = (line * 7919 + layer * 131) % WIDTH
                stream.write(row[start : start + WIDTH].tobytes())
            tensor = TensorProto(name=f"w{layer}", data_type=1, dims=[WIDTH, WIDTH])
            tensor.data_location = TensorProto.EXTERNAL
            places = {"location": "weights.bin", "offset": layer * size, "length": size}
            for key, value in places.items():
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            entry = f"t{layer - 1}" if layer else "x"
            last = "y" if layer == LAYERS - 1 else f"t{layer}"
            nodes.append(helper.make_node("MatMul", [entry, f"w{layer}"], [f"m{layer}"]))
            nodes.append(helper.make_node("Tanh", [f"m{layer}"], [last]))
    x, y = (helper.make_tensor_value_info(n, 1, ["batch", WIDTH]) for n in "xy")
    graph = helper.make_graph(nodes, "heavy", [x], [y], tensors)
    opset = helper.make_opsetid("", 21)
    path = folder / "heavy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


class Rows:
    """Two samples of one row."""

    generated = False
    digest = "ef" * 32

    def __len__(self):
        return 2

    def __iter__(self):
        for seed in range(2):
            row = np.random.default_rng(seed).standard_normal((1, WIDTH))
            yield Sample(({"x": row.astype(np.float32)},))


def test_a_model_over_2_gib_is_admitted_quantised_packed_and_verified(tmp_path):
    def context(name: str) -> Context:
        work = tmp_path / name
        work.mkdir()
        rows = {"evaluation": Rows(), "calibration": Rows()}
        facts = {"edgepack": "0", "source": "ab" * 32, "data": {}}
        return Context(work, 7, rows, ChildRunner(), Silent(), facts=facts)

    def proven(graph, name: str) -> Artifact:
        pack = Pack(artifact=name, target="x86", arch="x86_64")
        artifact = pack.apply(graph, context(name))
        assert edgepack.verify(artifact.path, on=["local"]).verdict == "pass"
        return artifact

    graph = OnnxSource(heavy(tmp_path)).load(context("source"))
    assert graph.weight == LAYERS * WIDTH * WIDTH * 4 > 1 << 31
    graph = Sanitise().apply(graph, context("sanitise"))
    graph = Simplify(opset=21, ir=10).apply(graph, context("simplify"))
    large = proven(graph, "float")
    small = proven(Quantize(scheme="w8-dynamic").apply(graph, context("quantize")), "int8")
    assert large.manifest.file("model.onnx.data").size == graph.weight
    assert small.manifest.file("model.onnx.data") is None
    assert small.size < 0.26 * large.size
