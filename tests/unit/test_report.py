import json
import math

import pytest

from edgepack.report import STATUS, Metric, Report, Step, worst


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "unverified"], "unverified"),
        (["unverified", "invalid"], "invalid"),
        (["invalid", "fail", "pass"], "fail"),
        ([], "unverified"),
    ],
)
def test_the_worst_part_is_the_verdict(parts, whole):
    assert worst(parts) == whole


def test_each_verdict_has_the_exit_status_of_the_design():
    assert STATUS == {"pass": 0, "fail": 1, "unverified": 3, "invalid": 5}


def test_the_document_uses_the_published_names():
    step = Step.model_validate({"pass": "prune", "seconds": 1.0})
    report = Report.model_validate(
        {
            "edgepack": "0",
            "name": "n",
            "verdict": "pass",
            "targets": [
                {"target": "arm64", "verdict": "pass", "steps": [step.model_dump(by_alias=True)]}
            ],
        }
    )
    document = json.loads(report.to_json())
    assert document["schema"] == "edgepack.report/1"
    assert document["targets"][0]["steps"][0]["pass"] == "prune"
    assert Report.model_validate(document) == report


@pytest.mark.parametrize(
    ("before", "after", "lower", "relative", "drop"),
    [(90, 89, False, False, 1), (89, 90, False, False, -1), (2, 3, True, False, 1),
     (20, 20.2, True, True, 1), (20, 19, True, True, -5), (0, 0, True, True, 0),
     (-2, -1, True, True, 50)],
)  # fmt: skip
def test_a_drop_is_how_much_worse_it_became(before, after, lower, relative, drop):
    metric = Metric(name="m", before=before, after=after, lower_is_better=lower, relative=relative)
    assert metric.drop == pytest.approx(drop)


def test_a_drop_of_nothing_is_not_defined():
    assert Metric(name="m", before=None, after=1).drop is None
    nothing = Metric(name="m", before=0, after=1, lower_is_better=True, relative=True)
    assert math.isnan(nothing.drop)
