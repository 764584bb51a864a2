from types import SimpleNamespace

import pytest

from edgepack.errors import MeasurementError
from edgepack.proof.accuracy import Measured, evaluate
from edgepack.types import SessionSettings


class Recording:
    """A tally whose value is the number of samples it was given."""

    def __init__(self):
        self.added = []

    def add(self, sample, outputs, reference):
        self.added.append((sample.label, outputs, reference))

    def value(self):
        return float(len(self.added))


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
    assert found == Measured(value=2.0, samples=2)
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
