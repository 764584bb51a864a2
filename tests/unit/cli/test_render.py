import io

import pytest
from rich.console import Console

from edgepack.cli import render
from edgepack.report import Report


def report(**device):
    told = {"on": "qemu:cortex-a72", "verdict": "pass", "vectors": 8, "exact": True, **device}
    target = {
        "target": "arm64",
        "verdict": told["verdict"],
        "artifact": "dist/net-arm64.edgepack",
        "sha256": "ab" * 32,
        "bytes": 89_477,
        "model_bytes": 73_512,
        "float_bytes": 971_944,
        "scheme": "w8a8-static",
        "steps": [{"pass": "prune", "seconds": 1.25, "after": {"parameters": 61594}}],
        "metric": {"name": "accuracy", "before": 99.17, "after": 99.44, "samples": 360},
        "gates": [{"name": "size", "value": 89477, "limit": None, "verdict": "pass", "why": "a|b"}],
        "devices": [told],
    }
    return Report.model_validate(
        {"edgepack": "0", "name": "net", "verdict": told["verdict"], "targets": [target]}
    )


def written(given):
    stream = io.StringIO()
    render.text(given, Console(file=stream, width=160, color_system=None))
    return stream.getvalue()


def test_a_person_reads_sizes_scores_and_verdicts():
    text = written(report(instructions=384_487))
    assert "89.5 kB: model 73.5 kB (float 972 kB, 13.2x smaller)" in text
    assert "accuracy 99.44 (before 99.17) on 360 samples" in text
    assert "bit-exact on 8 vectors; 384,487 instructions counted" in text
    assert text.rstrip().endswith("verdict: pass")


def test_an_estimate_is_written_with_its_interval():
    given = report().model_dump(by_alias=True)
    told = {"after_interval": (97.96, 99.88), "before_interval": (97.6, 99.71)}
    given["targets"][0]["metric"] |= told
    line = "accuracy 99.44 [98.0, 99.9] (before 99.17 [97.6, 99.7]) on 360 samples"
    assert line in written(Report.model_validate(given))
    assert line in render.markdown(Report.model_validate(given))
    given["targets"][0]["metric"] |= {"name": "mae", "after": 0.012345, "relative": True}
    assert "mae 0.01235 [98, 99.9]" in written(Report.model_validate(given))


def test_the_effect_of_each_step_is_a_table():
    given = report().model_dump(by_alias=True)
    before = {"parameters": 24058, "multiply_adds": 157312, "bytes": 97300, "instructions": 227996}
    after = {"parameters": 6274, "multiply_adds": 41792, "bytes": 26400, "instructions": None}
    metric = {"name": "accuracy", "before": 99.44, "after": 31.39, "after_interval": (26.8, 36.4)}
    given["targets"][0]["steps"][0]["effect"] = {
        "before": before, "after": after, "metric": metric, "not_counted": "no gcc",
        "notes": ["parameters fell"],
    }  # fmt: skip
    rows = [line.strip("| ") for line in render.markdown(Report.model_validate(given)).splitlines()]
    assert "as it came in | 24.1 k | 157 k | 97.3 kB | 228 k | 99.44" in rows
    assert "prune | 6.27 k -74 % | 41.8 k -73 % | 26.4 kB -73 % | - | 31.39 [26.8, 36.4]" in rows
    assert "prune | instructions not counted: no gcc" in rows
    assert "prune | parameters fell" in rows
    assert "effect of each step" not in written(report())


def test_a_reason_stands_beside_what_is_missing():
    text = written(report(verdict="unverified", vectors=0, exact=None, why="no [network]; fix: x"))
    assert "no [network]; fix: x" in text
    assert "not counted: no gcc" in written(report(not_counted="no gcc"))


def test_emulated_and_measured_numbers_are_never_mixed():
    assert "ms measured" not in written(report(instructions=1))
    assert "p50 1.2 ms measured" in written(report(latency_ms={"p50": 1.2}))


def test_markdown_has_a_table_a_part_and_escapes_bars():
    text = render.markdown(report())
    assert text.startswith("# net: pass\n")
    assert "| size | 89,477 | - | pass | a\\|b |" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "yes"), (1234567, "1,234,567"), (0.123456, "0.12346"), ("x", "x")],
)
def test_numbers(value, text):
    assert render.number(value) == text


@pytest.mark.parametrize(("count", "text"), [(7, "7 B"), (1500, "1.5 kB"), (89_477, "89.5 kB")])
def test_sizes(count, text):
    assert render.size(count) == text
