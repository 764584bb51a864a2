from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.data.tallies.edits import distance, greedy
from edgepack.errors import MeasurementError

WORDS = st.lists(st.integers(0, 3), max_size=7)


@given(WORDS, WORDS)
def test_the_distance_is_that_of_the_recurrence(want, got):
    @cache
    def between(i, j):
        if not i or not j:
            return i + j
        same = want[i - 1] == got[j - 1]
        return min(between(i - 1, j) + 1, between(i, j - 1) + 1, between(i - 1, j - 1) + (not same))

    assert distance(want, got) == between(len(want), len(got))


def spelt(*ids, classes=6):
    """Logits of shape [1, T, classes] whose largest class a step is as given."""
    return np.eye(classes)[list(ids)][None]


def test_repeats_are_one_and_blanks_part_them():
    assert greedy(spelt(1, 1, 0, 1, 2, 2, 0)[0], 0).tolist() == [1, 1, 2]
    assert greedy(spelt(5, 0, 0, 5, 0)[0], 5).tolist() == [0, 0]
    assert greedy(np.zeros((0, 6)), 0).tolist() == []


def test_characters_are_counted_over_all_labels(score):
    samples = [([1, 2, 3], spelt(1, 2, 2, 0, 4)), ([2], spelt(2)), ([1, -100], spelt(0, 1, 2))]
    assert score("cer", samples) == pytest.approx(100 * 2 / 5)
    assert score("cer-blank-last", [([0, 1], spelt(5, 0, 5, 1))]) == 0
    assert score("cer-blank-5", [([0, 1], spelt(5, 0, 5, 2))]) == 50
    assert score("cer", [([1], spelt(1, 2, 3))]) == 200


def test_words_stand_between_spaces(score):
    label = [1, 2, 4, 3, 4, 1]
    assert score("wer-space-4", [(label, spelt(1, 2, 4, 3, 4, 1))]) == 0
    assert score("wer-space-4", [(label, spelt(4, 1, 3, 4, 0, 4, 3, 4))]) == pytest.approx(200 / 3)
    assert score("wer-space-4-blank-last", [(label, spelt(1, 2, 4, 3, 5, 4, 0))]) > 30


@pytest.mark.parametrize(
    ("name", "label", "output", "code"),
    [("cer", [1, 9], spelt(1), "E505"), ("cer", [1, 0], spelt(1), "E505"),
     ("cer", None, spelt(1), "E505"), ("cer", [1], spelt(1)[0], "E506"),
     ("cer-blank-6", [1], spelt(1), "E506"), ("wer-space-7", [1], spelt(1), "E506"),
     ("cer", [1], np.full((1, 2, 6), np.nan), "E510"), ("cer", [], spelt(1), "E507")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(score, name, label, output, code):
    with pytest.raises(MeasurementError) as caught:
        score(name, [(label, output)])
    assert caught.value.code == code


def test_fewer_mistakes_are_better(tally):
    found = tally("cer", [([1], spelt(1)), ([1], spelt(2))])
    assert (found.lower_is_better, found.relative) == (True, False)
    assert found.interval() == (0, 100)
