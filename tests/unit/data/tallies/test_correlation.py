import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from edgepack.data.tallies.correlation import Pearson, Spearman
from edgepack.errors import MeasurementError
from edgepack.types import Sample


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-2, 2)), min_size=2, max_size=30))
def test_rank_correlation_is_that_of_scipy(pairs):
    left, right = zip(*pairs, strict=True)
    found = Spearman("spearman").statistic(np.array(pairs))(np.ones(len(pairs)))
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(100 * spearmanr(left, right).statistic, abs=1e-10)


@given(st.lists(st.tuples(*[st.integers(-9, 9)] * 2, st.integers(0, 3)), min_size=2, max_size=20))
def test_weights_are_repetitions(drawn):
    """A pair that counts three times is three equal pairs."""
    table, weights = np.array(drawn)[:, :2] / 4, np.array(drawn)[:, 2]
    repeated = np.repeat(table, weights, axis=0)
    if len(repeated) < 2 or (np.ptp(repeated, axis=0) == 0).any():
        return
    found = Spearman("").statistic(table)(weights)
    assert found == pytest.approx(100 * spearmanr(*repeated.T).statistic, abs=1e-9)
    found = Pearson("").statistic(table)(weights)
    assert found == pytest.approx(100 * pearsonr(*repeated.T).statistic, abs=1e-9)


def test_spearman_of_pairs_ranks_cosines(score):
    near, far = ([[1.0, 0.0]], [[1.0, 0.1]]), ([[1.0, 0.0]], [[-1.0, 0.2]])
    middle = ([[1.0, 0.0]], [[0.5, 0.5]])
    assert score("spearman", [(5, *near), (3, *middle), (1, *far)]) == pytest.approx(100)
    assert score("spearman", [(1, *near), (3, *middle), (5, *far)]) == pytest.approx(-100)


def test_tokens_are_averaged_under_the_mask():
    measure = Spearman("spearman")
    mask = {"attention_mask": np.array([[1, 1, 0]])}
    padded = {"tokens": np.array([[[0.0, 1.0], [0.0, 1.0], [0.0, 99.0]]])}
    pooled = {"tokens": np.array([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])}
    (row,) = measure.reduce(Sample((mask, mask), 2), [padded, pooled], [], "sample 0")
    assert row == pytest.approx((np.sqrt(0.5), 2))


def test_a_single_run_answers_with_a_number(score):
    samples = [(1, [[0.1]]), (2, [[0.3]]), (3, [[0.2]])]
    assert score("spearman", samples) == pytest.approx(50)
    assert score("pearson", samples) == pytest.approx(50)
    for broken, code in (([[0.1, 0.2]], "E506"), ([[np.nan]], "E510")):
        with pytest.raises(MeasurementError) as caught:
            score("spearman", [(1, broken)])
        assert caught.value.code == code


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_where_they_say_nothing_they_say_so(score, name):
    for samples, word in (
        ([(1, [0.1]), (1, [0.2])], "labels"),
        ([(1, [0.1]), (2, [0.1])], "answers"),
    ):
        with pytest.raises(MeasurementError, match=f"all {word} of 2 samples are equal"):
            score(name, samples)


def test_the_interval_of_pearson_is_that_of_scipy(tally):
    random = np.random.default_rng(1)
    left = random.normal(size=40)
    right = left + random.normal(size=40)
    found = tally("pearson", [(x, [[y]]) for x, y in zip(left, right, strict=True)])
    want = pearsonr(left, right).confidence_interval()
    assert found.interval() == pytest.approx((100 * want.low, 100 * want.high))
    ranked = tally("spearman", [(x, [[y]]) for x, y in zip(left, right, strict=True)])
    z = np.arctanh(spearmanr(left, right).statistic)
    half = 1.96 * np.sqrt((1 + np.tanh(z) ** 2 / 2) / 37)
    assert ranked.interval() == pytest.approx(100 * np.tanh([z - half, z + half]), abs=1e-2)


def test_three_samples_have_no_interval(tally):
    assert tally("pearson", [(i, [[float(i * i)]]) for i in range(3)]).interval() is None
    assert tally("pearson", [(i, [[float(i)]]) for i in range(5)]).interval() == pytest.approx(
        (100, 100)
    )
