"""ONNX files of other makers."""

import pytest

from .conftest import build, package_folder


@pytest.mark.emulated
@pytest.mark.parametrize(
    "name",
    [
        "ch_ppocr_mobile_v2.0_cls_infer",
        pytest.param("ch_PP-OCRv4_rec_infer", marks=pytest.mark.full),
    ],
)
def test_paddle_s_classifier_and_recogniser_build_for_arm64(tmp_path, ocr, name):
    report, _ = build(tmp_path, str(ocr / f"{name}.onnx"), "arm64")
    target = report.targets[0]
    assert report.verdict == "pass"
    assert target.scheme == "fp16"
    reasons = {candidate.scheme: candidate.reason for candidate in target.candidates}
    assert "calibration" in reasons["w8a8-static"]
    assert target.devices[0].vectors >= 2


@pytest.mark.full
@pytest.mark.emulated
@pytest.mark.parametrize(
    "name",
    ["silero_vad", "silero_vad_16k_op15", "silero_vad_16k_sequence", "silero_vad_half",
     "silero_vad_op18_ifless", "silero_vad_openvino_16k"],
)  # fmt: skip
def test_every_silero_builds_for_arm64(tmp_path, name):
    """Ifs in Ifs, recurrence, a state that goes in and out, and a sampling rate as a number."""
    path = package_folder("silero_vad") / "data" / f"{name}.onnx"
    report, _ = build(tmp_path, str(path), "arm64")
    assert report.verdict == "pass"
    assert report.targets[0].devices[0].vectors >= 3
