from itertools import product

import pytest

from edgepack.proof.budget import Limits, Measurements, judge
from edgepack.proof.fidelity import Fidelity
from edgepack.report import Device, Metric, worst
from edgepack.types import Tolerance

LOOSE = Tolerance(exact=False, relative=1e-3, cosine=0.999)
RIGHT = Device(on="qemu:a72", verdict="pass", exact=True, difference=0.0, instructions=500)


def metric(before=90.0, after=89.5, samples=1000, why=""):
    return Metric(name="accuracy", before=before, after=after, samples=samples, why=why)


def fidelity(cosine=0.995, flips=0, samples=1000, generated=False):
    return Fidelity(
        cosine=cosine, cosine_worst=cosine - 0.1, flips=flips, samples=samples, generated=generated
    )


def gates(limits=None, **found):
    found = {"bytes": 100, "tolerance": LOOSE, "devices": (RIGHT,), **found}
    return {gate.name: gate for gate in judge(limits or Limits(), Measurements(**found))}


def verdicts(limits=None, **found):
    judged = {name: gate.verdict for name, gate in gates(limits, **found).items()}
    return {name: v for name, v in judged.items() if not name.startswith("device")}


@pytest.mark.parametrize(
    ("after", "verdict"),
    [(89.0, "pass"), (88.9, "fail"), (95.0, "pass"), (89.0 - 1e-12, "pass"),
     (float("nan"), "invalid")],
)  # fmt: skip
def test_the_drop_of_the_metric_is_judged(after, verdict):
    found = gates(Limits(max_drop=1.0), metric=metric(after=after), fidelity=fidelity(0.5))
    assert found["max_drop"].verdict == verdict
    assert "cosine" not in found
    assert "over 1000 samples" in found["max_drop"].why or verdict == "invalid"


@pytest.mark.parametrize(
    ("after", "lower", "relative", "verdict"),
    [(20.2, True, True, "pass"), (20.3, True, True, "fail"), (21.0, True, False, "pass"),
     (21.1, True, False, "fail"), (10.0, True, True, "pass"), (10.0, False, False, "fail")],
)  # fmt: skip
def test_a_metric_of_mistakes_drops_as_it_grows(after, lower, relative, verdict):
    told = metric(20.0, after).model_copy(update={"lower_is_better": lower, "relative": relative})
    found = gates(Limits(max_drop=1.0), metric=told)["max_drop"]
    assert found.verdict == verdict
    assert ("in percent of before" in found.why) is relative


ASKED = [
    frozenset(),
    frozenset({"max_drop"}),
    frozenset({"cosine"}),
    frozenset({"max_drop", "cosine"}),
]
STATES = {
    "none": None,
    "unmeasured": metric(before=None, after=None, samples=0, why="no labels"),
    "half": metric(after=None),
    "coarse": metric(samples=99),
    "enough": metric(samples=100),
}


@pytest.mark.parametrize(("asked", "state"), list(product(ASKED, STATES)))
def test_what_stands_in_for_the_drop(asked, state):
    """Every combination of what was asked for and what was measured."""
    found = verdicts(
        Limits(max_drop=1.0, asked=asked), metric=STATES[state], fidelity=fidelity(0.5)
    )
    expected = {}
    if state == "enough":
        expected["max_drop"] = "pass"
    elif state != "coarse" and "max_drop" in asked:
        expected["max_drop"] = "unverified"
    if state != "enough" or "cosine" in asked:
        expected["cosine"] = "fail"
    if state != "enough":
        expected["label_flips"] = "pass"
    assert found == expected


def test_the_report_says_what_stands_in_and_why():
    limits = Limits(max_drop=1.0, asked=frozenset({"max_drop"}))
    coarse = gates(limits, metric=metric(samples=20), fidelity=fidelity(samples=20))
    for name in ("cosine", "label_flips"):
        assert "in place of max_drop: one of 20 samples weighs 5 points" in coarse[name].why
    lost = gates(limits, metric=STATES["unmeasured"], fidelity=fidelity(generated=True))
    assert lost["max_drop"].value is None
    assert "no labels; fix: " in lost["max_drop"].why
    assert "made-up inputs; judged in place of max_drop: no labels" in lost["cosine"].why


@pytest.mark.parametrize(
    ("samples", "flips", "most", "verdict"),
    [(20, 0, 1.0, "pass"), (20, 1, 1.0, "fail"), (40, 1, 2.4, "fail"), (99, 0, 1.0, "pass"),
     (20, None, 1.0, None)],
)  # fmt: skip
def test_flips_may_cost_no_more_than_the_drop(samples, flips, most, verdict):
    found = verdicts(
        Limits(max_drop=most),
        metric=metric(samples=samples),
        fidelity=fidelity(flips=flips, samples=samples),
    )
    assert found.get("label_flips") == verdict


@pytest.mark.parametrize(
    ("least", "cosine", "verdict"),
    [(0.99, 0.99, "pass"), (0.99, 0.9899, "fail"), (0.99, None, "unverified"), (None, 0.5, None)],
)
def test_the_mean_cosine_is_judged_where_nothing_else_is(least, cosine, verdict):
    measured = None if cosine is None else fidelity(cosine)
    assert verdicts(Limits(cosine=least), fidelity=measured).get("cosine") == verdict


@pytest.mark.parametrize(("most", "verdict"), [(100, "pass"), (99, "fail"), (None, None)])
def test_bytes_of_the_artifact(most, verdict):
    assert verdicts(Limits(size=most, cosine=None)).get("size") == verdict


def device(on, **fields):
    return Device(on=on, **{"verdict": "pass", **fields})


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [([500], "pass"), ([400, 501], "fail"), ([400, None], "pass"), ([None], "unverified"),
     ([], "unverified")],
)  # fmt: skip
def test_instructions_of_the_worst_device_that_counts(counts, verdict):
    devices = tuple(device(f"d{i}", instructions=n) for i, n in enumerate(counts))
    found = verdicts(Limits(instructions=500, cosine=None), devices=devices)
    assert found == {"instructions": verdict}
    assert verdicts(Limits(cosine=None), devices=devices) == {}


def test_what_was_not_counted_says_why():
    devices = (device("local", not_counted="no plugin"),)
    found = gates(Limits(instructions=500), devices=devices)["instructions"]
    assert "local: no plugin; fix:" in found.why


@pytest.mark.parametrize("verdict", ["pass", "fail", "invalid", "unverified"])
def test_each_device_is_a_gate(verdict):
    devices = (RIGHT, device("local", verdict=verdict, why="so it is", exact=False, difference=0.5))
    found = gates(Limits(cosine=None), devices=devices)
    assert list(found) == ["device qemu:a72", "device local"]
    assert (found["device qemu:a72"].value, found["device qemu:a72"].limit) == (
        "exact",
        "0.001, cosine 0.999",
    )
    local = found["device local"]
    assert (local.value, local.verdict, local.why) == (0.5, verdict, "so it is")


def test_no_device_is_unverified():
    found = gates(Limits(cosine=None), devices=(), tolerance=Tolerance(exact=True))
    assert (found["device"].verdict, found["device"].limit) == ("unverified", "exact")
    assert "--on" in found["device"].why


@pytest.mark.parametrize(
    ("size", "before", "devices", "verdict"),
    [
        (100, 90.0, (RIGHT,), "pass"),
        (100, 90.0, (), "unverified"),
        (100, float("nan"), (), "invalid"),
        (99, float("nan"), (), "fail"),
        (99, 90.0, (RIGHT,), "fail"),
    ],
)
def test_the_verdict_is_the_worst_gate(size, before, devices, verdict):
    found = gates(Limits(max_drop=1.0, size=size), metric=metric(before=before), devices=devices)
    assert worst([gate.verdict for gate in found.values()]) == verdict
