import numpy as np
import pytest

from edgepack.quantize.weights import to_int8

W = np.random.default_rng(1).normal(0.2, 1, (16, 8)).astype(np.float32)
W[:, 3] = 0


def error(q, axis):
    shape = (1, -1) if axis is not None else ()
    back = (q.values.astype(np.float32) - q.zero.reshape(shape)) * q.scale.reshape(shape)
    return np.abs(back - W), np.broadcast_to(q.scale.reshape(shape), W.shape)


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("narrow", [True, False])
def test_every_weight_is_within_half_a_step(axis, signed, narrow):
    q = to_int8(W, axis, signed=signed, narrow=narrow)
    assert q.values.dtype == q.zero.dtype == (np.int8 if signed else np.uint8)
    assert q.scale.shape == q.zero.shape == (() if axis is None else (8,))
    distance, step = error(q, axis)
    # An unsigned zero point is rounded itself, so that an extreme may be cut by another half.
    assert (distance <= step * (0.501 if signed else 1.001)).all()


def test_narrow_signed_weights_cannot_saturate_16_bits():
    values = to_int8(W, 1, signed=True, narrow=True).values.astype(int)
    assert 2 * 255 * np.abs(values).max() <= 2**15 - 1


def test_unsigned_weights_lose_less_where_they_are_lopsided():
    unsigned = error(to_int8(W + 0, 1, signed=False, narrow=False), 1)[0]
    signed = error(to_int8(W + 0, 1, signed=True, narrow=False), 1)[0]
    assert unsigned.mean() < signed.mean()
