import math

import numpy as np
import pytest

from edgepack.quantize.ranges.histogram import SIDE, Histogram

DRAW = np.random.default_rng(0)
PIECES = [
    np.zeros(5, np.float32),
    DRAW.normal(0, 1e-6, 100).astype(np.float32),
    DRAW.normal(0, 3, (4, 50)).astype(np.float32),
    np.array([], np.float32),
    np.array([-700.25], np.float32),
    np.abs(DRAW.normal(0, 40, 1000)).astype(np.float32),
]


def seen(pieces):
    histogram = Histogram()
    for piece in pieces:
        histogram.add(piece)
    return histogram


@pytest.mark.parametrize("order", [(5, 4, 3, 2, 1, 0), (2, 0, 5, 1, 4, 3)], ids=str)
def test_any_order_of_samples_gives_the_same_counts(order):
    one, other = seen(PIECES), seen([PIECES[i] for i in order])
    whole = seen([np.concatenate([piece.ravel() for piece in PIECES])])
    for histogram in (other, whole):
        assert (histogram.width, histogram.zeros) == (one.width, one.zeros)
        assert (histogram.low, histogram.high) == (one.low, one.high)
        assert np.array_equal(histogram.counts, one.counts)


def test_counts_are_those_of_the_values():
    histogram = seen(PIECES)
    values = np.concatenate([piece.ravel() for piece in PIECES]).astype(np.float64)
    expected = np.histogram(values[values != 0], histogram.edges)[0]
    assert np.array_equal(histogram.counts, expected)
    assert histogram.total == values.size
    assert histogram.zeros == 5
    assert histogram.width == 1024 / SIDE


def test_memory_does_not_grow_with_what_is_seen():
    histogram = Histogram()
    for _ in range(50):
        histogram.add(DRAW.normal(0, 1, 10000).astype(np.float32))
    assert histogram.counts.nbytes == 2 * SIDE * 8


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_never_forgotten(value):
    histogram = seen([np.array([value, 1.0], np.float32), np.ones(3, np.float32)])
    assert not histogram.finite


def test_extremes_of_float32_have_a_place():
    histogram = seen([np.array([1e-45, -3.4e38, 3.4e38], np.float32)])
    assert histogram.counts.sum() == 3


def test_what_lies_outside_is_told():
    histogram = seen([np.arange(1, 101, dtype=np.float32)])
    assert histogram.outside(0, 100) == 0
    assert histogram.outside(0, 90) == pytest.approx(0.1)
