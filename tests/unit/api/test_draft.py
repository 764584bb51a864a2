import tomllib
from pathlib import Path
from typing import get_args

import onnx
import pytest
from onnx import parser

from edgepack.api import Request, prepare
from edgepack.api.draft import draft, states
from edgepack.errors import UsageError
from edgepack.spec.target import names
from edgepack.types import Scheme, TensorSpec


def spec(name, *shape, dtype="float32"):
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def onnx_file(path: Path, head: str, body: str = "y = Relu (x)") -> Path:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {head} {{ {body} }}')
    onnx.save(model, path)
    return path


def planned(text: str, folder: Path):
    """Read the draft as a recipe and plan it for every target."""
    path = folder / "edgepack.toml"
    path.write_text(text)
    return prepare(Request(recipe=path, targets=("all",)))


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        ([spec("x", 1, 5), spec("state", 2, "n", 8)], [spec("y", 1), spec("stateN", 2, "n", 8)],
         (("state", "stateN"),)),
        ([spec("x", 1, 5), spec("h", 1, 8), spec("c", 1, 8)],
         [spec("y", 1), spec("hn", 1, 8), spec("cn", 1, 8)], (("h", "hn"), ("c", "cn"))),
        ([spec("x", 1), spec("cache_in", 4)], [spec("y", 1), spec("cache_out", 4)],
         (("cache_in", "cache_out"),)),
        ([spec("ids", 1, "t"), spec("past_key_values.0.key", 1, 2, "p", 4)],
         [spec("logits", 1, 9), spec("present_key_values.0.key", 1, 2, "q", 4)],
         (("past_key_values.0.key", "present_key_values.0.key"),)),
        ([spec("x", 1), spec("state", 2, 8)], [spec("y", 1), spec("stateN", 2, 9)], ()),
        ([spec("x", 1), spec("state", 2, dtype="int64")], [spec("y", 1), spec("stateN", 2)], ()),
        ([spec("image_in", 1, 3)], [spec("image_out", 1, 3)], ()),
        ([spec("x", 1), spec("h", 2)], [spec("y", 1), spec("hn", 2), spec("h_out", 2)], ()),
    ],
    ids=["silero", "lstm", "in-out", "past", "size", "type", "picture", "ambiguous"],
)  # fmt: skip
def test_states_are_paired_by_name_type_and_size(inputs, outputs, found):
    assert states(inputs, outputs) == found


def test_digits_plan_as_they_are_drafted(tmp_path):
    text = draft("builtin:digits", tmp_path, targets=("arm64",))
    work = planned(text, tmp_path)
    assert {plan.target for plan in work.plans} == set(names())
    assert "train, calibration, evaluation" in text
    assert "# [gates.arm64]" in text
    assert '# pass = "finetune"' in text


def test_an_onnx_file_is_described_and_fed_pictures(tmp_path, monkeypatch):
    head = "(float[N,3,H,W] x) => (float[N,3,H,W] y)"
    onnx_file(tmp_path / "picture.onnx", head)
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    text = draft("picture.onnx", tmp_path / "recipes")
    assert tomllib.loads(text)["model"] == {"source": "../picture.onnx"}
    assert "# input   x: float32[N, 3, H, W]" in text
    assert "[data.pictures]" in text
    assert '"prune"' not in text
    planned(text, tmp_path / "recipes")


def test_all_that_is_commented_out_is_lawful_too(tmp_path):
    """Uncomment what has no trailing prose, and read it again: a hint must not be a trap."""
    text = draft("builtin:digits", tmp_path)
    lines = [
        line.removeprefix("# ")
        for line in text.splitlines()
        if not line.startswith(("# A recipe", "#  ", "# the source", '# evaluation  = "data.py'))
        and line != "#"
        and "train " not in line
        and "calibration " not in line
        and "evaluation " not in line
    ]
    whole = "\n".join(lines)
    steps = tomllib.loads(whole)["steps"]
    assert [step["pass"] for step in steps] == ["prune", "finetune", "quantize"]
    planned(whole, tmp_path)


def test_text_is_asked_for_where_ids_are_fed(tmp_path, monkeypatch):
    onnx_file(
        tmp_path / "t.onnx", "(int64[N,T] input_ids) => (int64[N,T] y)", "y = Abs (input_ids)"
    )
    monkeypatch.chdir(tmp_path)
    assert "calibration.jsonl" in draft("t.onnx", tmp_path)


def test_no_code_of_a_factory_runs(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text("raise SystemExit\ndef build():\n    return None\n")
    monkeypatch.chdir(tmp_path)
    text = draft("torch:model.py:build", tmp_path)
    assert tomllib.loads(text)["model"]["source"] == "torch:model.py:build"
    planned(text, tmp_path)


def test_a_name_from_the_file_stays_in_its_comment(tmp_path, monkeypatch):
    model = onnx.load(onnx_file(tmp_path / "x.onnx", "(float[N] x) => (float[N] y)"))
    model.graph.input[0].name = model.graph.node[0].input[0] = "x\nname = 'injected'"
    onnx.save(model, tmp_path / "x.onnx")
    monkeypatch.chdir(tmp_path)
    assert "name" not in tomllib.loads(draft("x.onnx", tmp_path))["model"]


def test_a_target_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError):
        draft("builtin:digits", tmp_path, targets=("arm65",))


def test_every_scheme_is_named(tmp_path):
    text = draft("builtin:digits", tmp_path)
    assert all(f'"{scheme}"' in text for scheme in get_args(Scheme))
