import numpy as np
import pytest

from edgepack.errors import MeasurementError
from edgepack.proof.fidelity import compare
from edgepack.types import SessionSettings


def same(inputs):
    return {"y": inputs["x"]}


def swapped(inputs):
    return {"y": inputs["x"][:, ::-1]}


def row(*values):
    return {"x": np.array([values], np.float32)}


def test_mean_worst_and_flips(runner, events, samples):
    data = samples([(0, row(1, 1)), (1, row(1, 0)), (1, row(3, 4))])
    settings = SessionSettings(threads=2)
    found = compare(same, swapped, data, runner, events, settings)
    assert found.cosine == pytest.approx((1 + 0 + 24 / 25) / 3)
    assert found.cosine_worst == 0
    assert (found.flips, found.samples, found.generated) == (2, 3, False)
    assert runner.settings == [None, settings]
    assert events.told[-1] == ("compare", 3, 3)


def test_an_equal_graph_is_wholly_faithful(runner, events, samples):
    found = compare(same, same, samples([(0, row(1, 2))], generated=True), runner, events)
    assert found.cosine == found.cosine_worst == pytest.approx(1)
    assert (found.flips, found.generated) == (0, True)


def test_runs_of_a_pair_are_averaged_and_flip_nothing(runner, events, samples):
    found = compare(same, swapped, samples([(1, row(1, 1), row(1, 0))]), runner, events)
    assert (found.cosine, found.flips) == (pytest.approx(0.5), None)


@pytest.mark.parametrize("item", [(None, row(1, 2)), (0.5, row(1, 2)), (1, row(1))])
def test_what_is_no_class_cannot_flip(runner, events, samples, item):
    assert compare(same, swapped, samples([item]), runner, events).flips is None


def test_an_answer_of_nan_is_a_flip_and_no_agreement(runner, events, samples):
    found = compare(
        same, lambda i: {"y": i["x"] * np.nan}, samples([(0, row(2, 1))]), runner, events
    )
    assert (found.cosine, found.flips) == (0, 1)


def test_nothing_to_compare_is_refused(runner, events, samples):
    with pytest.raises(MeasurementError, match="no samples"):
        compare(same, same, samples([]), runner, events)
    with pytest.raises(MeasurementError, match="no longer answers `y`"):
        compare(same, lambda i: {"z": i["x"]}, samples([(0, row(1, 2))]), runner, events)
