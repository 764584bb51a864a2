import numpy as np
import pytest

from edgepack.quantize.ranges.histogram import Histogram
from edgepack.quantize.ranges.reduce import LEVELS, reducer

DRAW = np.random.default_rng(0)
UNIFORM = DRAW.uniform(-1, 3, 200_000)
POSITIVE = DRAW.uniform(0, 1, 200_000)
HEAVY = DRAW.standard_t(2, 200_000)
LONG = np.append(np.abs(DRAW.normal(0, 1, 200_000)), [60.0, -25.0])
RELU = np.maximum(DRAW.laplace(0, 1, 200_000), 0)
SEARCHES = ("entropy", "mse", "percentile")


def found(method, values, **options):
    one = reducer(method, **options)
    for piece in np.array_split(values.astype(np.float32), 7):
        one.observe("x", piece)
    return one.ranges()["x"]


def bin_of(values):
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return histogram.width


def squared_error(values, low, high):
    """Quantise and scale back, as a device does."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / LEVELS
    back = np.round(np.clip(values, low, high) / step) * step
    return float(((values - back) ** 2).mean())


@pytest.mark.parametrize("values", [UNIFORM, POSITIVE], ids=["both", "positive"])
@pytest.mark.parametrize("method", ["minmax", "entropy", "mse"])
def test_what_is_uniform_is_not_clipped(method, values):
    seen = found(method, values)
    width = max(values.max(), 0) - min(values.min(), 0)
    assert seen.high - min(seen.low, 0) > 0.99 * width
    assert seen.clipped < 0.005


@pytest.mark.parametrize("values", [HEAVY, LONG], ids=["heavy", "outliers"])
@pytest.mark.parametrize("method", SEARCHES)
def test_a_heavy_tail_is_clipped_and_the_share_told(method, values):
    seen, whole = found(method, values), found("minmax", values)
    assert seen.high < 0.9 * whole.high
    assert seen.low > 0.9 * whole.low
    assert seen.clipped < 0.01
    outside = ((values < seen.low) | (values > seen.high)).mean()
    assert 0 < seen.clipped <= outside
    assert whole.clipped == 0


@pytest.mark.parametrize("values", [HEAVY, LONG, RELU, UNIFORM], ids=["t", "long", "relu", "flat"])
def test_mse_finds_what_brute_force_finds(values):
    values = values[-20_000:]
    seen, whole = found("mse", values), found("minmax", values)
    grid = np.linspace(0.04, 1, 25)
    lows = grid * whole.low if whole.low < 0 else [0.0]
    best = min(squared_error(values, low, high * whole.high) for low in lows for high in grid)
    assert squared_error(values, seen.low, seen.high) < 1.02 * best


@pytest.mark.parametrize("percent", [99.0, 99.9, 100.0])
def test_a_percentile_is_within_one_bin_of_that_of_the_values(percent):
    seen, width = found("percentile", HEAVY, percent=percent), bin_of(HEAVY)
    values, allowed = HEAVY.astype(np.float32), HEAVY.size * (100 - percent) / 200
    assert (values > seen.high).sum() <= allowed < (values >= seen.high - width).sum()
    assert (values < seen.low).sum() <= allowed < (values <= seen.low + width).sum()


def divergence(values, bins):
    """KL(P || Q) of the source, written out bin by bin."""
    width = bin_of(values)
    counts = np.bincount((values[values > 0] / width).astype(int), minlength=bins + 1)
    p = counts[:bins].astype(float)
    p[-1] += counts[bins:].sum()
    q = np.zeros(bins)
    for level in range(LEVELS):
        span = slice(level * bins // LEVELS, (level + 1) * bins // LEVELS)
        held = counts[span] > 0
        q[span][held] = counts[span].sum() / max(held.sum(), 1)
    some = counts[:bins] > 0
    p, q = p[some] / p[some].sum(), q[some] / q[some].sum()
    return (p * np.log(p / q)).sum()


def test_entropy_finds_what_brute_force_finds():
    values = np.append(np.abs(DRAW.laplace(0, 1, 50_000)), 40.0).astype(np.float32)
    seen, width = found("entropy", values), bin_of(values)
    counts = np.bincount((values / width).astype(int))
    edges = [int(i) + 1 for i in np.flatnonzero(counts) if i + 1 >= LEVELS]
    best = min(divergence(values, bins) for bins in edges[::3])
    # Candidates are thinned out: the best of them may be a few bins off.
    assert divergence(values, round(seen.high / width)) < 1.1 * best
    assert seen.high < 20


def test_entropy_of_the_runtime_has_one_candidate_and_ours_many():
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = HEAVY.astype(np.float32)
    theirs = HistogramCollector("entropy", False, 128, 128, 99.99, "same")
    theirs.collect({"x": [values]})
    low, high = (float(end) for end in theirs.compute_collection_result()["x"][:2])
    assert max(-low, high) == pytest.approx(np.abs(values).max(), rel=0.02)
    assert found("entropy", values).high < 0.7 * values.max()


@pytest.mark.parametrize("method", ["minmax", *SEARCHES])
@pytest.mark.parametrize(
    ("values", "low", "high"),
    [(np.zeros(9), 0, 0), (np.full(9, 2.5), 2.5, 2.5), (np.array([-1.5]), -1.5, -1.5)],
    ids=["zeros", "constant", "negative"],
)
def test_a_constant_keeps_its_range(method, values, low, high):
    seen = found(method, values)
    assert min(seen.low, 0) == pytest.approx(min(low, 0), rel=1e-3)
    assert max(seen.high, 0) == pytest.approx(max(high, 0), rel=1e-3)


@pytest.mark.parametrize("method", ["minmax", *SEARCHES])
def test_nan_stays_nan_for_calibration_to_refuse(method):
    assert np.isnan(found(method, np.array([1.0, np.nan, 2.0])).high)
