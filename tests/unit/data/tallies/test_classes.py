import numpy as np
import pytest
from sklearn.metrics import f1_score, top_k_accuracy_score

from edgepack.errors import MeasurementError


@pytest.fixture
def drawn():
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 80)
    return labels, random.normal(size=(80, 6)) + 1.5 * np.eye(6)[labels]


def samples(labels, logits):
    return [(label, row[None]) for label, row in zip(labels, logits, strict=True)]


@pytest.mark.parametrize(("name", "k"), [("top1", 1), ("top-2", 2), ("top5", 5)])
def test_the_k_best_are_those_of_scikit_learn(score, drawn, name, k):
    labels, logits = drawn
    want = top_k_accuracy_score(labels, logits, k=k, labels=range(6))
    assert score(name, samples(labels, logits)) == pytest.approx(100 * want)


def test_of_equal_logits_the_first_come_first(score):
    flat = [[1.0, 1.0, 1.0]]
    assert score("top2", [(0, flat), (1, flat), (2, flat)]) == pytest.approx(200 / 3)


@pytest.mark.parametrize("output", [[[1.0, 0.0, 0.5]], np.array([2])])
def test_where_all_classes_are_among_the_best_nothing_is_told(score, output):
    with pytest.raises(MeasurementError) as caught:
        score("top3", [(1, output)])
    assert caught.value.code == "E506"


def test_f1_is_that_of_scikit_learn(score, drawn):
    labels, logits = drawn
    answers = logits.argmax(axis=1)
    want = f1_score(labels, answers, average="macro")
    assert 0.3 < want < 0.95
    assert score("f1", samples(labels, logits)) == pytest.approx(100 * want)
    frames = [(labels[:30], logits[None, :30]), (labels[30:], logits[None, 30:])]
    assert score("f1", frames) == pytest.approx(100 * want)
    want = f1_score(labels == 1, answers == 1)
    integers = [(int(x == 1), np.array([int(y == 1)])) for x, y in zip(labels, answers)]
    assert score("f1-binary", integers) == pytest.approx(100 * want)


def test_an_answer_of_nan_is_no_class_of_its_own(score):
    right, broken = [[1.0, 0.0]], [[np.nan, 0.0]]
    assert score("f1", [(0, right), (0, broken)]) == pytest.approx(100 * 2 / 3)


def test_f1_of_a_class_that_never_occurs_is_not_defined(score):
    with pytest.raises(MeasurementError, match="class 1 is neither") as caught:
        score("f1-binary", [(0, [[1.0, 0.0]])])
    assert caught.value.code == "E507"


def test_one_answer_a_sample_has_an_interval_by_wilson(tally):
    logits = [[1.0, 0.0]]
    found = tally("accuracy", [(0, logits)] * 8 + [(1, logits)] * 2)
    # Wilson's interval of 8 of 10, from the formula worked by hand.
    assert found.interval() == pytest.approx((49.016, 94.331), abs=1e-3)
    assert tally("accuracy", [(0, logits)]).interval()[0] < 30


def test_frames_of_one_sample_hang_together(tally):
    """Ten right frames in one sample say less than ten right samples."""
    right, wrong = ([0] * 50, [[[1.0, 0.0]] * 50]), ([1] * 50, [[[1.0, 0.0]] * 50])
    low, high = tally("accuracy", [right, wrong] * 5).interval()
    assert high - low > 50
    assert tally("accuracy", [right]).interval() is None
