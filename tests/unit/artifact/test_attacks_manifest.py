"""Containers without a fault around manifests with one."""

import json

import pytest

from edgepack.artifact import canonical
from edgepack.artifact import format as layout

from .forge import contents, forge, judged, manifest_of, refused, zipped


def test_digest_of_another_manifest():
    entries = forge()
    entries[1] = (layout.DIGEST, layout.digest_line("0" * 64))
    assert refused(zipped(entries)) == "E610"
    entries[1] = (layout.DIGEST, forge()[1][1].upper())
    assert refused(zipped(entries)) == "E610"


def text(**changes) -> bytes:
    return canonical.dumps(manifest_of(contents(), **changes))


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf" + text(),
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        text() + b"\n",
        text().replace(b'"seed":0', b'"seed":NaN'),
        text().replace(b'"seed":0', b'"seed":Infinity'),
        text().replace(b'"seed":0', b'"seed":1e999'),
        text().replace(b'"seed":0', b'"seed":0.0'),
        text().replace(b'"seed":0', b'"seed":-0'),
        text().replace(b'"seed":0', b'"seed":' + b"9" * 5000),
        text().replace(b'"seed":0', b'"seed":9007199254740993'),
        text().replace(b'"ratio":0.5', b'"ratio":50666109756710730'),
        text().replace(b'"seed":0', b'"seed":0,"seed":0'),
        text().replace(b'"seed":0', b'"seed": 0'),
        text().replace("ä".encode(), b"\\u00e4"),
        text().replace("ä".encode(), b"\\ud800"),
        json.dumps(manifest_of(contents())).encode(),
        json.dumps(manifest_of(contents()), separators=(",", ":"), ensure_ascii=False).encode(),
    ],
    ids=range(20),
)
def test_manifest_spelled_otherwise(manifest):
    assert refused(zipped(forge(manifest=manifest))) == "E611"


@pytest.mark.parametrize("value", ["edgepack.artifact/2", None, 1, ["edgepack.artifact/1"]])
def test_unknown_format(value):
    assert refused(zipped(forge(format=value))) == "E612"


def test_format_that_is_no_object():
    assert refused(zipped(forge(manifest=b"[]"))) == "E612"


@pytest.mark.parametrize("critical", [["rollout"], ["seed", "seeds"], [1], [[]], [None]])
def test_unknown_critical_field(critical):
    assert refused(zipped(forge(critical=critical))) == "E613"


def test_unknown_field_counts_only_where_it_is_critical():
    assert judged(zipped(forge(rollout={"percent": 5}))).manifest.name == "digits"
    assert refused(zipped(forge(rollout={"percent": 5}, critical=["rollout"]))) == "E613"
    assert judged(zipped(forge(critical=["seed"]))).manifest.critical == ("seed",)


GOLDEN = manifest_of(contents())["golden"]
VECTOR = GOLDEN["vectors"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": -1},
        {"seed": "0"},
        {"seed": True},
        {"seed": 0.5},
        {"name": "../evil"},
        {"name": "a\n"},
        {"release": None},
        {"critical": "seed"},
        {"critical": ["seed", "name"]},
        {"source": "AB" * 32},
        {"data": {"holdout": "cd" * 32}},
        {"session": {}},
        {"session": {"threads": 1, "path": "/"}},
        {"tokenizer": ["assets/other.json"]},
        {"tokenizer": ["model.onnx"]},
        {"inputs": []},
        {"golden": {**GOLDEN, "vectors": []}},
        {"golden": {**GOLDEN, "vectors": [VECTOR] * 2}},
        {"golden": {**GOLDEN, "vectors": [{**VECTOR, "outputs": VECTOR["inputs"]}]}},
    ],
    ids=lambda value: next(iter(value)),
)
def test_manifest_that_breaks_a_rule(changes):
    assert refused(zipped(forge(**changes))) == "E614"


def test_field_that_is_missing():
    for name in set(manifest_of(contents())) - {"format"}:
        value = manifest_of(contents())
        del value[name]
        assert refused(zipped(forge(manifest=canonical.dumps(value)))) == "E614", name


def test_golden_tensor_of_another_size():
    tensor = {"name": "x", "dtype": "float32", "shape": [2**50, 2**50]}
    vectors = [{**VECTOR, "inputs": [tensor]}]
    assert refused(zipped(forge(golden={**GOLDEN, "vectors": vectors}))) == "E614"


def test_files_that_the_manifest_does_not_list():
    files = {**contents(), "assets/more": b""}
    honest = canonical.dumps(manifest_of(contents()))
    assert refused(zipped(forge(files, manifest=honest))) == "E615"
    changed = {**contents(), "model.onnx": b"other"}
    assert refused(zipped(forge(changed, manifest=honest))) == "E615"
    fewer = {name: data for name, data in contents().items() if name != "README.md"}
    assert refused(zipped(forge(fewer, manifest=honest))) == "E615"
    swapped = {**contents(), "README.md": contents()["README.md"][::-1]}
    assert refused(zipped(forge(swapped, manifest=honest))) == "E615"
