import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from edgepack.data.tallies.roc import Auc
from edgepack.errors import MeasurementError


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), max_size=20))
def test_ties_count_half_as_in_scikit_learn(drawn):
    table = np.array(drawn, dtype=float).reshape(-1, 3)
    found = Auc("auc").statistic(table[:, :2])(table[:, 2])
    repeated = np.repeat(table, table[:, 2].astype(int), axis=0)
    if len(set(repeated[:, 1])) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(100 * roc_auc_score(repeated[:, 1], repeated[:, 0]))


def test_one_score_may_be_two_logits(score):
    samples = [(1, [[0.0, 2.0]]), (0, [[0.0, 1.0]]), (1, [[5.0, 3.0]]), (0, [[9.0, 4.0]])]
    assert score("auc", samples) == 75
    assert score("auc", [(1, [[0.9]]), (0, [[0.1]]), (0, [[0.9]])]) == 75


def test_frames_are_runs_or_an_axis(score):
    runs = ([1, 0, 1], [[0.9]], [[0.8]], [[0.7]])
    assert score("auc", [runs, ([0], [[0.1]])]) == 75
    assert score("auc", [([1, 0, 1, -100], [[[0.9], [0.8], [0.7], [0.95]]])]) == 50


@pytest.mark.parametrize(
    ("label", "outputs", "code"),
    [([1, 0], [[[0.1]]], "E505"), (2, [[[0.1]]], "E505"), (1, [[[0.1, 0.2, 0.3]]], "E506"),
     (1, [[[np.nan]]], "E510"), (1, [[[0.1]]], "E507")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(score, label, outputs, code):
    with pytest.raises(MeasurementError) as caught:
        score("auc", [(label, *outputs)])
    assert caught.value.code == code


def test_a_single_class_is_named(score):
    with pytest.raises(MeasurementError, match="all 2 labels are 1"):
        score("auc", [(1, [[0.1]]), (1, [[0.2]])])


def test_the_interval_covers_the_value_and_narrows(tally):
    random = np.random.default_rng(2)
    widths = []
    for count in (40, 640):
        labels = random.integers(0, 2, count)
        rows = [(y, [[y + random.normal()]]) for y in labels]
        found = tally("auc", rows)
        low, high = found.interval()
        assert low < found.value() < high
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 6


def test_labels_that_are_all_ignored_are_refused(score):
    with pytest.raises(MeasurementError, match="no sample has a label that counts") as caught:
        score("auc", [([-100, -100], [[[0.9], [0.8]]])])
    assert caught.value.code == "E507"


def test_no_interval_is_drawn_for_too_many_rows(tally, monkeypatch):
    found = tally("auc", [(i % 2, [[float(i % 7)]]) for i in range(50)])
    assert found.interval() is not None
    monkeypatch.setattr("edgepack.data.tallies.tally.MOST_DRAWN", 49)
    assert found.interval() is None
