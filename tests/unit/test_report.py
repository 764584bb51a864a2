import json

import pytest

from edgepack.report import STATUS, Report, Step, worst


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
