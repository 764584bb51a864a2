import json

import pytest

from edgepack.errors import UsageError
from edgepack.source.digits import DigitsSource
from edgepack.source.factory import FactorySource
from edgepack.source.gguf import GgufSource
from edgepack.source.onnx import OnnxSource
from edgepack.source.reference import open_source
from edgepack.source.transformers import TransformersSource


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    (tmp_path / "model.py").write_text("def build(): ...")
    (tmp_path / "net.onnx").write_bytes(b"x")
    (tmp_path / "lm.gguf").write_bytes(b"GGUF\3" + b"\0" * 60)
    (tmp_path / "weights.pt").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "kind", "name"),
    [
        ("builtin:digits", DigitsSource, "digits"),
        ("./bert", TransformersSource, "bert"),
        ("torch:model.py:build", FactorySource, "model"),
        ("net.onnx", OnnxSource, "net"),
        ("lm.gguf", GgufSource, "lm"),
    ],
)
def test_each_kind_is_told_by_its_reference(folder, reference, kind, name):
    source = open_source(reference, folder, task=None, seed=0)
    assert isinstance(source, kind)
    assert source.name == name
    assert source.gives == ("graph" if kind is OnnxSource else "model")
    assert len(source.digest) == 64


@pytest.mark.parametrize(
    ("reference", "fix"),
    [
        ("builtin:digts", "did you mean `digits`?"),
        ("./bret", "did you mean `bert`?"),
        ("model.py:build", "torch:model.py:build"),
        ("torch:model.py", "torch:model.py:build"),
        ("torch:modle.py:build", "did you mean `model.py`?"),
        ("torch:model.py:biuld", "did you mean `build`?"),
        ("empty", "config.json"),
        ("weights.pt", "torch:model.py:build"),
        ("sentence-transformers/some-model", "nothing is downloaded"),
        ("https://example.org/net.onnx", "nothing is downloaded"),
        ("nett.onnx", "did you mean `net.onnx`?"),
        ("ln.gguf", "did you mean `lm.gguf`?"),
        ("package:no_such_package/net.onnx", "package:NAME/model.onnx"),
        ("package:json/nothing.onnx", "package:NAME/PATH"),
    ],
)
def test_what_stands_for_nothing_is_refused_with_a_fix(folder, reference, fix):
    with pytest.raises(UsageError) as caught:
        open_source(reference, folder, task=None, seed=0)
    assert caught.value.code in {"E232", "E261", "E267", "E273"}
    assert fix in caught.value.fix


def test_a_package_is_not_imported_to_find_its_model(tmp_path, monkeypatch):
    package = tmp_path / "carries_a_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "net.onnx").write_bytes(b"x")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = open_source("package:carries_a_model/net.onnx", tmp_path / "x", task=None, seed=0)
    assert isinstance(source, OnnxSource)
    assert source.name == "net"


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(UsageError) as caught:
        open_source("nope.onnx", tmp_path, task=None, seed=0)
    assert (caught.value.code, caught.value.what) == ("E261", "there is no model `nope.onnx`")
