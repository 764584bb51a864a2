"""A model over 2 GiB, built as a user builds it. It takes 10 GB of memory and 30 GB of disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import edgepack
from edgepack.artifact import Artifact

pytestmark = pytest.mark.full
WIDTH, LAYERS = 10368, 5


def heavy(folder: Path) -> Path:
    """Write a stack of layers, a little over 2 GiB of float32, in a file beside the model."""
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


@pytest.fixture
def place(tmp_path):
    """A folder that is gone after the test: pytest would keep its gigabytes."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_a_model_over_2_gib_is_built_both_ways_and_verified(place, monkeypatch):
    monkeypatch.setenv("EDGEPACK_CACHE", str(place / "cache"))
    model = heavy(place)
    weight = LAYERS * WIDTH * WIDTH * 4
    assert weight > 1 << 31
    report = edgepack.build(
        str(model),
        targets=["x86-vnni"],
        overrides=['steps=[{pass="quantize", scheme="w8-dynamic"}]'],
        out=place / "dist",
        on=["local"],
        offline=True,
    )
    (target,) = report.targets
    quantised, plain = target.candidates
    assert [quantised.scheme, plain.scheme] == ["w8-dynamic", "float"]
    assert [quantised.reason.split(";")[0], plain.reason] == [
        "the recipe asks for it",
        "to compare with",
    ]
    assert report.verdict == target.verdict == "pass"
    assert target.float_bytes > weight
    assert quantised.cosine > 0.999
    assert plain.bytes > weight
    small = Artifact.open(Path(target.artifact))
    assert small.manifest.file("model.onnx.data") is None
    assert small.model_size == quantised.bytes < 0.26 * plain.bytes
    stored = (place / "cache" / "objects").glob("*/*/artifact.edgepack")
    (large,) = (a for a in map(Artifact.open, stored) if a.model_size == plain.bytes)
    assert large.manifest.file("model.onnx.data").size == weight
    for artifact in (small, large):
        assert edgepack.verify(artifact.path, on=["local"]).verdict == "pass"
