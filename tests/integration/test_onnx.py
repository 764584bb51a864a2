"""ONNX files of other makers."""

import pytest

from .conftest import build


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["ch_ppocr_mobile_v2.0_cls_infer", "ch_PP-OCRv4_rec_infer"])
def test_paddle_s_classifier_and_recogniser_build_for_arm64(tmp_path, ocr, name):
    report, _ = build(tmp_path, str(ocr / f"{name}.onnx"), "arm64")
    target = report.targets[0]
    assert report.verdict == "pass"
    assert target.scheme == "float"
    reasons = {candidate.scheme: candidate.reason for candidate in target.candidates}
    assert "calibration" in reasons["w8a8-static"]
    assert target.devices[0].vectors >= 3
