"""A drafted recipe loads and plans for every target, as it is."""

import pytest

from edgepack.api import Request, prepare
from edgepack.api.draft import draft
from edgepack.spec.target import names

from .conftest import package_folder


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("minilm", ('# task = "feature-extraction"', "calibration.jsonl", '"prune"')),
        ("ocr", ("# [data.pictures]", "# input   x: float32[")),
        ("silero", ('"state" = "stateN"', '# "sr" = 0')),
    ],
    ids=["minilm", "ocr", "silero"],
)
def test_a_real_model_is_drafted_and_planned(model, words, tmp_path, minilm, ocr):
    sources = {
        "minilm": minilm,
        "ocr": ocr / "ch_PP-OCRv4_rec_infer.onnx",
        "silero": package_folder("silero_vad") / "data" / "silero_vad_op18_ifless.onnx",
    }
    text = draft(str(sources[model]), tmp_path)
    for word in words:
        assert word in text
    path = tmp_path / "edgepack.toml"
    path.write_text(text)
    work = prepare(Request(recipe=path, targets=("all",)))
    assert {plan.target for plan in work.plans} == set(names())
