"""A real transformers folder, for four targets at once."""

import pytest

from .conftest import build

TARGETS = ("arm64", "x86", "x86-vnni", "mobile")


@pytest.mark.full
@pytest.mark.emulated
def test_it_passes_on_four_targets_with_wordsim(tmp_path, minilm, wordsim):
    report, out = build(tmp_path, str(minilm), *TARGETS, data=str(wordsim), metric="spearman")
    for target in report.targets:
        wrong = [gate for gate in target.gates if gate.verdict != "pass"]
        if target.target == "x86-vnni" and wrong:
            # This machine may lack VNNI; then it must say so rather than pass.
            assert [d.verdict for d in target.devices] == ["unverified"]
            continue
        assert wrong == []
        assert target.verdict == "pass"
        assert target.scheme == "w8-dynamic"
        assert target.metric.samples == 353
        assert target.metric.before > 70
        assert target.metric.before - target.metric.after <= 1.0
        assert target.bytes * 3 < target.float_bytes or target.target == "mobile"
        assert (out / f"model-{target.target}.edgepack").is_file()


@pytest.mark.full
@pytest.mark.emulated
def test_without_data_it_reads_sentences_and_says_so(tmp_path, minilm):
    report, _ = build(tmp_path, str(minilm), "arm64")
    target = report.targets[0]
    cosine = next(gate for gate in target.gates if gate.name == "cosine")
    assert cosine.value >= 0.99
    assert target.metric.after is None
    assert target.metric.why == "no metric is named"
