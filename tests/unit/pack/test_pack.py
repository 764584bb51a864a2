import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepack.artifact import Artifact, unpack, write_artifact
from edgepack.child import QUIET
from edgepack.errors import ArtifactError, ModelError
from edgepack.pack.ort import to_ort
from edgepack.pack.pack import Pack
from edgepack.types import Asset, SessionSettings

from .scene import Relu, context, convolution_proto, lengths, relu_proto

PACK = Pack(
    artifact="relu",
    target="arm64",
    arch="aarch64",
    features=("neon",),
    runtime_minimum="1.21",
    runtime_maximum="1.31.1",
)


def packed(work: Path, pack: Pack = PACK, **scene) -> Artifact:
    return pack.apply(Relu(), context(work, **scene))


def test_what_is_inside(tmp_path):
    vocabulary = tmp_path / "vocabulary"
    vocabulary.write_bytes(b"a\nb\n")
    artifact = packed(tmp_path / "work", assets=(Asset("vocab.txt", vocabulary),))
    manifest = artifact.manifest
    assert artifact.path == tmp_path / "work" / "relu-arm64.edgepack"
    assert Artifact.open(artifact.path) == artifact
    assert artifact.read("model.onnx") == relu_proto()
    assert artifact.read("assets/vocab.txt") == b"a\nb\n"
    assert manifest.tokenizer == ("assets/vocab.txt",)
    assert [step.name for step in manifest.passes] == ["prune", "pack"]
    assert Pack.model_validate(manifest.passes[1].options) == PACK
    assert (manifest.seed, manifest.source, manifest.scheme) == (7, "ab" * 32, "float")
    assert manifest.runtime.minimum == "1.21"
    assert len(manifest.golden.vectors) == 3
    for inputs, outputs in artifact.vectors():
        np.testing.assert_array_equal(outputs["y"], np.maximum(inputs["x"], 0))


def test_equal_input_gives_equal_bytes(tmp_path):
    first, second = packed(tmp_path / "a"), packed(tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()


def test_nothing_of_the_machine_is_inside(tmp_path):
    data = packed(tmp_path / "work").path.read_bytes()
    for word in (str(tmp_path), str(Path.home()), os.uname().nodename):
        assert word.encode() not in data


def test_card(tmp_path):
    card = packed(tmp_path / "work").read("README.md").decode()
    assert card.startswith("# relu for arm64\n")
    for line in (
        "| input | `x` | float32 | batch x length |",
        "1. `prune` ratio = `0.5`",
        "every byte must agree",
        "from 1.21 up to 1.31.1",
        f"| `model.onnx` | {len(relu_proto())} |",
    ):
        assert line in card
    assert not re.search(r"\b\d+(\.\d+)? (ms|s|seconds)\b", card)


def test_no_data_is_said_and_recorded(tmp_path):
    scene = context(tmp_path / "work", {})
    artifact = PACK.apply(Relu(), scene)
    assert artifact.manifest.golden.vectors == ()
    assert artifact.manifest.file("sample.py") is None
    assert "no golden vectors" in scene.events.notes[0]
    assert "proves nothing" in artifact.read("README.md").decode()


def test_made_up_inputs_are_said(tmp_path):
    scene = context(tmp_path / "work", {"evaluation": lengths(4, generated=True)})
    assert PACK.apply(Relu(), scene).manifest.golden.generated
    assert "made-up" in scene.events.notes[0]


def test_asset_that_the_format_cannot_hold(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError) as caught:
        packed(tmp_path / "work", assets=(Asset("../vocab.txt", tmp_path / "file"),))
    assert caught.value.code == "E630"
    assert "../vocab.txt" in str(caught.value)


def run_sample(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", folder / "sample.py"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={**os.environ, **QUIET}
    )


def test_sample_agrees_with_a_right_model_and_no_other(tmp_path):
    artifact = packed(tmp_path / "work", data={"evaluation": lengths(4, 4, 4, 5)})
    unpack(artifact, tmp_path / "right")
    done = run_sample(tmp_path / "right")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("relu: agrees with golden vector 0 (exact: True")
    wrong = {e.name: artifact.read(e.name) for e in artifact.entries if "manifest" not in e.name}
    wrong["golden/0/output.0.bin"] = np.full((1, 4), 0.25, "<f4").tobytes()
    fields = artifact.manifest.model_dump(exclude={"format", "files"})
    unpack(write_artifact(fields, wrong, tmp_path / "wrong.edgepack"), tmp_path / "wrong")
    done = run_sample(tmp_path / "wrong")
    assert done.returncode == 1
    assert "DOES NOT AGREE" in done.stdout


def test_ort_form_is_repeatable(tmp_path):
    files = [
        packed(tmp_path / place, PACK.model_copy(update={"ort": True})).read("model.ort")
        for place in ("a", "b")
    ]
    assert files[0] == files[1]
    assert files[0][4:8] == b"ORTM"
    assert str(tmp_path).encode() not in files[0]


def test_ort_form_holds_no_layout_of_another_processor(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(convolution_proto())
    for arch in ("aarch64", "x86_64"):
        to_ort(model, tmp_path / arch, arch, SessionSettings())
    assert b"ReorderOutput" not in (tmp_path / "aarch64").read_bytes()
    if platform.machine() == "x86_64":
        assert b"ReorderOutput" in (tmp_path / "x86_64").read_bytes()


def test_ort_form_of_what_is_no_model(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError) as caught:
        to_ort(tmp_path / "model.onnx", tmp_path / "model.ort", "aarch64", SessionSettings())
    assert caught.value.code == "E482"
