"""From a trained model to an artifact of few levels."""

import pytest

from edgepack.artifact import Artifact

from .conftest import build

STEP = 'steps=[{{pass="qat", width="{width}", epochs={epochs}}}]'


@pytest.mark.parametrize(
    ("width", "scheme", "share"),
    [("ternary", "ternary-weight-only", 14), ("w8", "w8a8-static", 3.5)],
)
def test_few_levels_reach_the_artifact(width, scheme, share, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("EDGEPACK_CACHE", str(cache))
    step = STEP.format(width=width, epochs=3)
    report, out = build(tmp_path, "builtin:digits", "x86-vnni", overrides=(step,))
    target = report.targets[0]
    assert report.verdict == "pass"
    assert target.metric.before - target.metric.after <= 2.5
    assert target.scheme == scheme
    stored, plain = target.candidates
    assert stored.bytes * share <= plain.bytes
    assert Artifact.open(out / "digits-x86-vnni.edgepack").manifest.scheme == scheme
