import numpy as np
import pytest
from scipy.special import log_softmax

from edgepack.errors import MeasurementError


@pytest.fixture
def logits():
    return np.random.default_rng(5).normal(size=(1, 6, 9)).astype(np.float32) * 3


def expected(logits, tokens, at):
    likelihoods = log_softmax(logits[0].astype(float), axis=-1)
    return np.exp(-np.mean([likelihoods[t - 1, tokens[t]] for t in at]))


def test_each_token_is_held_against_the_logits_before_it(score, logits):
    tokens = np.array([[1, 2, 3, 4, 5, 6]])
    want = expected(logits, tokens[0], range(1, 6))
    assert score("perplexity", [(None, logits)], {"input_ids": tokens}) == pytest.approx(want)
    assert score("perplexity", [(tokens[0], logits)]) == pytest.approx(want)


def test_padding_does_not_count(score, logits):
    tokens = [7, 2, 3, 4, 5, 0]
    mask = {"attention_mask": np.array([[0, 1, 1, 1, 1, 0]])}
    want = expected(logits, tokens, [2, 3, 4])
    assert score("perplexity", [(tokens, logits)], mask) == pytest.approx(want)
    ignored = [-100, -100, 3, 4, 5, -100]
    assert score("perplexity", [(ignored, logits)]) == pytest.approx(want)


def test_a_model_that_knows_nothing_has_as_many_choices_as_words(tally):
    found = tally("perplexity", [([1, 2, 3], np.zeros((1, 3, 50)))] * 2)
    assert found.value() == pytest.approx(50)
    assert found.interval() == pytest.approx((50, 50))
    assert found.lower_is_better
    assert found.relative


@pytest.mark.parametrize(
    ("label", "output", "code"),
    [(None, np.zeros((1, 3, 9)), "E505"), ([1, 2], np.zeros((1, 3, 9)), "E505"),
     ([1, 2, 9], np.zeros((1, 3, 9)), "E505"), ([1, 2], np.zeros((2, 9)), "E506"),
     ([1], np.zeros((1, 1, 9)), "E507"), ([1, 2], np.full((1, 2, 9), np.nan), "E510"),
     ([1, 0], np.eye(9)[None, 1:3] * 9e9, "E507")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(score, label, output, code):
    with pytest.raises(MeasurementError) as caught:
        score("perplexity", [(label, output)])
    assert caught.value.code == code
