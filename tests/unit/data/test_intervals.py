import numpy as np
import pytest
from scipy.stats import binomtest

from edgepack.data.intervals import bootstrap, fisher, matched, wilson
from edgepack.data.metrics import resolve


@pytest.mark.parametrize(("right", "samples"), [(0, 5), (5, 5), (358, 360), (1, 2), (50, 97)])
def test_the_interval_of_a_proportion_is_that_of_scipy(right, samples):
    want = binomtest(right, samples).proportion_ci(method="wilson")
    assert wilson(right, samples) == pytest.approx((100 * want.low, 100 * want.high), abs=1e-9)


def test_no_sample_changed_does_not_mean_that_none_could():
    low, high = matched(0, 0, 100)
    assert low == -high
    assert 1 < high < 3
    assert matched(0, 0, 10_000)[1] < 0.05
    assert matched(9, 1, 100)[0] > 0
    assert matched(1, 9, 100) == pytest.approx([-x for x in reversed(matched(9, 1, 100))])


def test_the_interval_of_matched_proportions_covers():
    """Over many draws of 200 pairs with a known drop, some 95 % of the intervals hold it."""
    random = np.random.default_rng(6)
    lost, won = 0.06, 0.02
    counts = random.multinomial(200, [lost, won, 1 - lost - won], size=2000)
    found = np.array([matched(a, b, 200) for a, b, _ in counts])
    covered = np.mean((found[:, 0] <= 4) & (found[:, 1] >= 4))
    assert 0.94 < covered < 0.98


def test_few_samples_have_no_interval():
    assert fisher(0.5, 3, ranks=False) is None
    assert bootstrap(lambda weights: float(weights[0]), 1) is None
    assert bootstrap(lambda weights: float("nan"), 50) is None


def test_resamples_have_the_size_of_the_data():
    assert bootstrap(lambda weights: float(weights.sum()), 30) == (30, 30)


def paired(name, tmp_path, before, after, samples):
    return resolve(name, tmp_path).drop_interval(before, after, samples)


def test_the_drop_is_paired_sample_by_sample(tmp_path):
    """Errors that differ much from sample to sample, and grow by a tenth on each."""
    errors = np.random.default_rng(7).exponential(size=200)
    before = tuple((i, e, 1.0) for i, e in enumerate(errors))
    after = tuple((i, 1.1 * e, 1.0) for i, e in enumerate(errors))
    assert paired("mae", tmp_path, before, after, 200) == pytest.approx((10, 10))
    shuffled = tuple((i, 1.1 * e, 1.0) for i, e in enumerate(errors[::-1]))
    low, high = paired("mae", tmp_path, before, shuffled, 200)
    assert low < -1 < 20 < high


def test_a_drop_is_above_zero_where_it_became_worse(tmp_path):
    right = tuple((i, 1.0, 1.0) for i in range(50))
    wrong = tuple((i, float(i % 2), 1.0) for i in range(50))
    low, high = paired("accuracy", tmp_path, right, wrong, 50)
    assert 30 < low < 50 < high < 70
    edits = tuple((i, float(i % 2), 2.0) for i in range(50))
    none = tuple((i, 0.0, 2.0) for i in range(50))
    low, high = paired("cer", tmp_path, none, edits, 50)
    assert 15 < low < 25 < high < 35
