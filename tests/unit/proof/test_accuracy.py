from types import SimpleNamespace

import pytest

from edgepack.errors import MeasurementError
from edgepack.proof import accuracy
from edgepack.proof.accuracy import Measured, evaluate, paired
from edgepack.types import SessionSettings


class Recording:
    """A tally whose value is the number of samples it was given."""

    lower_is_better = False
    relative = False
    length = 1

    def __init__(self):
        self.added = []

    def add(self, sample, outputs, reference):
        self.added.append((sample.label, outputs, reference))

    def value(self):
        return float(len(self.added))

    def interval(self):
        return (0.0, 9.0)

    def rows(self):
        return ((0.0, 1.0),) * self.length


@pytest.fixture
def metric():
    tally = Recording()
    return SimpleNamespace(name="score", compares=False, start=lambda: tally, tally=tally)


def double(inputs):
    return {"y": inputs["x"] * 2}


def negate(inputs):
    return {"y": -inputs["x"]}


def test_every_run_of_every_sample_reaches_the_tally(runner, events, samples, metric):
    data = samples([(7, {"x": 1}), (8, {"x": 2}, {"x": 3})])
    settings = SessionSettings(threads=2)
    found = evaluate(double, data, metric, runner, events, settings)
    assert found == Measured(value=2.0, samples=2, items=2, interval=(0.0, 9.0), rows=((0.0, 1.0),))
    assert [(label, outputs) for label, outputs, _ in metric.tally.added] == [
        (7, [{"y": 2}]),
        (8, [{"y": 4}, {"y": 6}]),
    ]
    assert events.told == [("score", 1, 2), ("score", 2, 2)]
    assert runner.settings == [settings]


def test_a_metric_that_compares_sees_the_reference(runner, events, samples, metric):
    metric.compares = True
    evaluate(double, samples([(None, {"x": 1})]), metric, runner, events, reference=negate)
    evaluate(double, samples([(None, {"x": 1})]), metric, runner, events)
    assert [told[1:] for told in metric.tally.added] == [
        ([{"y": 2}], [{"y": -1}]),
        ([{"y": 2}], [{"y": 2}]),
    ]


def test_made_up_inputs_score_nothing_but_comparisons(runner, events, samples, metric):
    made = samples([(None, {"x": 1})], generated=True)
    with pytest.raises(MeasurementError) as caught:
        evaluate(double, made, metric, runner, events)
    assert caught.value.code == "E500"
    metric.compares = True
    assert evaluate(double, made, metric, runner, events).samples == 1


def test_too_many_rows_are_not_kept(runner, events, samples, metric, monkeypatch):
    data = samples([(7, {"x": 1})])
    monkeypatch.setattr(accuracy, "MOST", 5)
    metric.tally.length = 5
    assert len(evaluate(double, data, metric, runner, events).rows) == 5
    metric.tally.length = 6
    found = evaluate(double, data, metric, runner, events)
    assert (found.rows, found.interval) == ((), (0.0, 9.0))


def test_how_it_is_compared_is_asked_after_the_value(runner, events, samples, metric):
    def value():
        metric.tally.lower_is_better = True
        return 1.0

    metric.tally.value = value
    found = evaluate(double, samples([(7, {"x": 1})]), metric, runner, events)
    assert (found.lower_is_better, found.relative) == (True, False)


def test_a_measured_value_survives_json():
    found = Measured(value=1.5, samples=2, interval=(1.0, 2.0), rows=((0.0, 1.0), (1.0, 2.0)))
    assert Measured.model_validate_json(found.model_dump_json()) == found
    assert Measured.model_validate({"value": 1.5, "samples": 2}).rows == ()


def test_only_rows_of_the_same_samples_are_paired(metric):
    metric.drop_interval = lambda before, after, samples: (before[0][1], after[0][1] + samples)
    one, other = (Measured(value=0, samples=2, rows=((0.0, x),)) for x in (3.0, 4.0))
    assert paired(metric, one, other) == (3.0, 6.0)
    assert paired(metric, one, Measured(value=0, samples=2)) is None
    assert paired(metric, one, Measured(value=0, samples=3, rows=((0.0, 1.0),))) is None
