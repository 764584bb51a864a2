import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgepack.artifact import Artifact, canonical, unpack, write_artifact
from edgepack.artifact.manifest import ITEM_BYTES
from edgepack.errors import ArtifactError

from .forge import FIELDS, contents, forge, zipped


def test_round_trip(made, tmp_path):
    again = Artifact.open(made.path)
    assert again == made
    for name, data in contents().items():
        assert again.read(name) == data
        again.extract(name, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        (tmp_path / "out").unlink()
    assert again.manifest.release == 3
    assert again.manifest.passes[0].options == {"ratio": 0.5, "note": "ä€"}
    assert again.size == made.path.stat().st_size == made.facts()["bytes"]


def test_digest_is_of_the_manifest(made):
    data = made.read("manifest.json")
    assert made.digest == hashlib.sha256(data).hexdigest()
    assert made.read("manifest.sha256") == f"{made.digest}  manifest.json\n".encode()
    assert canonical.loads(data) == json.loads(data)


def test_the_file_is_what_its_contents_require(made):
    assert made.path.read_bytes() == zipped(forge())


def test_other_zip_readers_agree(made):
    with zipfile.ZipFile(made.path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [entry.name for entry in made.entries]
        assert archive.read("model.onnx") == contents()["model.onnx"]


def test_vectors(made):
    ((inputs, outputs),) = made.vectors()
    assert inputs["x"].dtype == np.float32
    assert inputs["x"].tolist() == [[1.0] * 4]
    assert outputs["y"].tolist() == [2**40 + 5]
    assert outputs["y"].flags.writeable


@settings(max_examples=12)
@given(
    st.sampled_from(sorted(set(ITEM_BYTES) - {"bool"})).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
    )
)
def test_any_tensor_survives(tmp_path_factory, array):
    spec = {"name": "x", "dtype": array.dtype.name, "shape": list(array.shape)}
    golden = {**FIELDS["golden"], "vectors": [{"inputs": [spec], "outputs": []}]}
    fields = {**FIELDS, "inputs": [spec], "outputs": [], "tokenizer": [], "golden": golden}
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    to = tmp_path_factory.mktemp("any") / "a.edgepack"
    files = {"model.onnx": b"", "golden/0/input.0.bin": raw}
    ((inputs, outputs),) = write_artifact(fields, files, to).vectors()
    assert inputs["x"].dtype == array.dtype
    np.testing.assert_array_equal(inputs["x"], array)
    assert outputs == {}


@settings(max_examples=12)
@given(st.dictionaries(st.from_regex(r"assets/[a-b]{1,3}", fullmatch=True), st.binary()), st.text())
def test_any_contents_survive(tmp_path_factory, assets, note):
    try:
        note.encode()
    except UnicodeEncodeError:
        return
    fields = {**FIELDS, "passes": [{"name": "p", "version": 1, "options": {note: note}}]}
    to = tmp_path_factory.mktemp("any") / "a.edgepack"
    artifact = write_artifact(fields, {**contents(), **assets}, to)
    assert {name: artifact.read(name) for name in assets} == assets
    assert artifact.manifest.passes[0].options == {note: note}
    first = to.read_bytes()
    write_artifact(dict(reversed(fields.items())), {**assets, **contents()}, to)
    assert to.read_bytes() == first


WRITE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
os.umask(int(sys.argv[3], 8))
from edgepack.artifact import write_artifact
from artifact.forge import FIELDS, contents
write_artifact(FIELDS, contents(), Path(sys.argv[2]))
"""


def test_identical_bytes_in_any_zone_locale_umask(made, tmp_path):
    zones = [("Asia/Kathmandu", "C", "077"), ("America/St_Johns", "tr_TR.UTF-8", "000")]
    for index, (zone, locale, umask) in enumerate(zones):
        to = tmp_path / f"{index}.edgepack"
        env = {**os.environ, "TZ": zone, "LC_ALL": locale, "PYTHONHASHSEED": str(index)}
        tests = str(Path(__file__).parent.parent)
        subprocess.run([sys.executable, "-c", WRITE, tests, to, umask], env=env, check=True)
        assert to.read_bytes() == made.path.read_bytes()
        assert to.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("fields", "files", "word"),
    [
        ({"seeds": 1}, {}, "seeds"),
        ({"format": "edgepack.artifact/2"}, {}, "format"),
        ({"seed": 2**53}, {}, "seed"),
        ({"name": "no good"}, {}, "name"),
        ({"passes": [{"name": "p", "version": 1, "options": {"at": float("nan")}}]}, {}, "finite"),
        ({}, {"assets/../a": b""}, "assets/../a"),
        ({}, {"manifest.sig": b""}, "manifest.sig"),
        ({}, {"assets/Tokenizer.json": b""}, "case"),
        ({}, {"golden/1/input.0.bin": b""}, "golden"),
    ],
    ids=str,
)
def test_writer_refuses_what_a_reader_would(tmp_path, fields, files, word):
    with pytest.raises(ArtifactError) as caught:
        write_artifact({**FIELDS, **fields}, {**contents(), **files}, tmp_path / "a.edgepack")
    assert caught.value.code == "E630"
    assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(made):
    before = made.path.read_bytes()
    with pytest.raises(FileNotFoundError):
        write_artifact(FIELDS, {**contents(), "model.onnx": Path("absent")}, made.path)
    assert made.path.read_bytes() == before
    assert [p.name for p in made.path.parent.iterdir()] == [made.path.name]


def test_contents_from_paths(made, tmp_path):
    model = tmp_path / "some.onnx"
    model.write_bytes(contents()["model.onnx"])
    to = tmp_path / "b.edgepack"
    write_artifact(FIELDS, {**contents(), "model.onnx": model}, to)
    assert to.read_bytes() == made.path.read_bytes()


def test_unknown_file_is_named(made, tmp_path):
    with pytest.raises(ArtifactError) as caught:
        made.read("model.onx")
    assert caught.value.code == "E622"
    assert "model.onnx" in caught.value.fix
    with pytest.raises(ArtifactError):
        made.extract("../x", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_unpack(made, tmp_path):
    to = tmp_path / "out"
    unpack(made, to)
    found = {p.relative_to(to).as_posix(): p for p in to.rglob("*") if not p.is_dir()}
    assert found.keys() == {entry.name for entry in made.entries}
    assert all(p.is_file() and not p.is_symlink() for p in found.values())
    assert found["assets/tokenizer.json"].read_bytes() == b"{}"


def test_unpack_into_what_is_there(made, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("outside", "link", "dangling", made.path.name):
        with pytest.raises(ArtifactError) as caught:
            unpack(made, tmp_path / name)
        assert caught.value.code == "E621"
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "nowhere").exists()


def test_unpack_of_a_changed_file_leaves_nothing(made, tmp_path):
    data = made.path.read_bytes()
    made.path.write_bytes(data.replace(contents()["model.onnx"], bytes(900)))
    with pytest.raises(ArtifactError) as caught:
        unpack(made, tmp_path / "out")
    assert caught.value.code == "E620"
    assert [p.name for p in tmp_path.iterdir()] == [made.path.name]


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_extract_never_overwrites_or_follows(made, tmp_path, kind):
    kept, to = tmp_path / "kept", tmp_path / "to"
    kept.write_bytes(b"kept")
    match kind:
        case "file":
            to.write_bytes(b"kept")
        case "link":
            to.symlink_to(kept)
        case "dangling":
            to.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ArtifactError) as caught:
        made.extract("model.onnx", to)
    assert caught.value.code == "E621"
    assert kept.read_bytes() == b"kept"
    assert not (tmp_path / "nowhere").exists()


def test_even_a_forged_entry_is_held_to_what_was_checked(made, tmp_path):
    forged = replace(made, entries=tuple(replace(e, size=e.size + 1) for e in made.entries))
    with pytest.raises(ArtifactError):
        forged.read("model.onnx")


def test_nothing_heavy_is_loaded():
    code = (
        "import sys, edgepack.artifact, edgepack.pack.pack;"
        "print([m for m in ('torch','onnx','onnxruntime','onnx_ir') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
