import numpy as np
import pytest

from edgepack.graph.agreement import agreement, cosine


def arrays(*values, dtype=np.float32):
    return {"y": np.array(values, dtype)}


def test_equal_bytes_are_exact():
    found = agreement(arrays(1, 2), arrays(1, 2))
    assert (found.exact, found.relative, found.cosine) == (True, 0.0, pytest.approx(1.0))


def test_minus_zero_is_equal_but_not_exact():
    found = agreement(arrays(0.0, 1), arrays(-0.0, 1))
    assert not found.exact
    assert found.relative == 0.0


def test_the_difference_is_relative_to_the_largest_expected_magnitude():
    assert agreement(arrays(10, -20), arrays(10, -18)).relative == pytest.approx(0.1)


def test_shape_and_dtype_must_agree():
    assert agreement(arrays(1, 2), {"y": np.zeros((2, 1), np.float32)}).relative == np.inf
    assert agreement(arrays(1), arrays(1, dtype=np.float64)).relative == np.inf


def test_nan_against_a_number_is_infinitely_far_and_nan_against_nan_agrees():
    assert agreement(arrays(1, 2), arrays(1, np.nan)).relative == np.inf
    assert agreement(arrays(1, np.nan), arrays(1, np.nan)).exact


def test_a_missing_output_is_an_error():
    with pytest.raises(KeyError):
        agreement(arrays(1), {})


def test_cosine_of_zero_vectors():
    zero, one = np.zeros(2), np.ones(2)
    assert cosine(zero, zero) == 1.0
    assert cosine(zero, one) == 0.0
    assert cosine(one, -one) == pytest.approx(-1.0)


def test_rounding_near_one_does_not_count_as_a_difference_of_small_outputs():
    """A sigmoid of -16 on two instruction sets: 1e-7 apart, and as small itself."""
    found = agreement(arrays(6e-8, 1e-7), arrays(9e-8, -2e-8))
    assert found.relative < 1e-3
    assert found.cosine == 1.0
    assert not found.exact


def test_small_outputs_that_differ_by_more_than_rounding_do():
    found = agreement(arrays(1e-5, 0), arrays(0, 1e-5))
    assert found.relative == pytest.approx(0.01)
    assert found.cosine == 0.0


def test_a_large_output_hides_no_small_one():
    boxes = np.array([600.0, 20.0], np.float32)
    scores, ruined = np.array([0.9, 0.1], np.float32), np.array([0.1, 0.9], np.float32)
    found = agreement({"boxes": boxes, "scores": scores}, {"boxes": boxes, "scores": ruined})
    assert found.cosine < 0.3


def test_integer_outputs_are_as_alike_as_the_share_of_equal_values():
    ids = arrays(1, 2, 3, 4, dtype=np.int64)
    assert agreement(ids, arrays(1, 2, 3, 9, dtype=np.int64)).cosine == 0.75
    assert agreement(ids, ids).cosine == 1.0


def test_infinities_at_the_same_places_agree_and_the_rest_is_measured():
    found = agreement(arrays(-np.inf, 10, np.nan, -20), arrays(-np.inf, 10, np.nan, -18))
    assert found.relative == pytest.approx(0.1)
    assert 0.99 < found.cosine < 1
    assert agreement(arrays(np.inf, 1), arrays(np.inf, 1 + 1e-7)).cosine == 1.0
    assert agreement(arrays(np.inf), arrays(np.inf)) == agreement(arrays(1), arrays(1))


@pytest.mark.parametrize(
    "got", [(np.inf, 1), (0, 1), (np.nan, 1), (-np.inf, np.inf)], ids=["sign", "0", "nan", "more"]
)
def test_an_infinity_against_anything_else_is_infinitely_far(got):
    found = agreement(arrays(-np.inf, 1), arrays(*got))
    assert (found.relative, found.cosine) == (np.inf, 0.0)
