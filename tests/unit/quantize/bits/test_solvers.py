import numpy as np
import pytest

from edgepack.quantize.bits.awq import awq
from edgepack.quantize.bits.few import few
from edgepack.quantize.bits.gptq import gptq
from edgepack.quantize.bits.grids import Kind, output_error
from edgepack.quantize.bits.hqq import hqq
from edgepack.quantize.bits.rtn import rtn

SYMMETRIC = pytest.mark.parametrize("symmetric", [False, True])


def drawn(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (rows, columns)).astype(np.float32)


def correlated(size, samples=400):
    mixed = drawn(samples, 8, 1) @ drawn(8, size, 2) * 100 + drawn(samples, size, 3)
    return mixed.astype(np.float64)


def error(blocks, weight, x):
    return output_error(blocks.values() - weight, x.T @ x)


@SYMMETRIC
@pytest.mark.parametrize("bits", [4, 8])
def test_rtn_errs_by_half_a_step_and_more_bits_err_less(bits, symmetric):
    weight = drawn(6, 100)
    found = rtn(weight, Kind(bits, 32, symmetric))
    step = np.repeat(np.abs(found.scale), 32, axis=1)[:, :100]
    # Only the extreme against the sign of a symmetric scale is cut, by up to a step.
    assert (np.abs(found.values() - weight) <= step * (1.01 if symmetric else 0.76)).all()
    assert found.levels.max() <= 2**bits - 1
    assert found.scale.shape == (6, 4)


@SYMMETRIC
def test_hqq_errs_less_than_the_nearest_levels_in_every_block(symmetric):
    weight, kind = drawn(16, 128), Kind(4, 32, symmetric)
    plain, fitted = (
        np.square(f(weight, kind).values() - weight).reshape(16, 4, 32).sum(-1) for f in (rtn, hqq)
    )
    assert (fitted <= plain * (1 + 1e-4)).all()
    assert fitted.sum() < 0.95 * plain.sum()


@SYMMETRIC
@pytest.mark.parametrize("group", [32, 128])
def test_gptq_errs_less_at_the_output_where_inputs_go_together(group, symmetric):
    weight, x, kind = drawn(24, 128), correlated(128), Kind(4, group, symmetric)
    found = gptq(weight, x.T @ x, kind)
    assert error(found, weight, x) < 0.6 * error(rtn(weight, kind), weight, x)


def test_gptq_takes_the_nearest_levels_where_inputs_are_apart():
    weight, kind = drawn(8, 48), Kind(4, 16, False)
    assert (gptq(weight, np.eye(48), kind).levels == rtn(weight, kind).levels).all()


def test_gptq_bears_inputs_that_were_never_seen_and_a_ragged_end():
    weight, kind = drawn(8, 50), Kind(4, 16, False)
    for seen in (np.zeros((50, 50)), np.diag([1.0] * 25 + [0.0] * 25)):
        found = gptq(weight, seen, kind)
        assert np.abs(found.values() - weight).max() < 0.06
        assert found.scale.shape == (8, 4)


def test_awq_errs_less_where_some_inputs_are_large():
    weight, kind = drawn(24, 128), Kind(4, 128, False)
    x = correlated(128)
    x[:, ::16] *= 30
    found, scales = awq(weight, x.T @ x, np.abs(x).mean(0), kind)
    assert scales is not None
    off = output_error(found.values() / scales - weight, x.T @ x)
    assert off < 0.6 * error(rtn(weight, kind), weight, x)


def test_binary_keeps_signs_and_ternary_keeps_large_ones():
    weight = np.array([[0.5, -0.1, 1.0, -1.0], [0.0, 2.0, -2.0, 0.1]], np.float32)
    levels, steps = few(weight, 0, "binary")
    assert levels.tolist() == [[1, -1, 1, -1], [1, 1, -1, 1]]
    assert np.allclose(steps, np.abs(weight).mean(1), rtol=1e-3)
    levels, steps = few(weight, 0, "ternary")
    assert levels.tolist() == [[1, 0, 1, -1], [0, 1, -1, 0]]
    assert np.allclose(steps, [2.5 / 3, 2], rtol=1e-3)
    turned, same = few(weight.T, 1, "ternary")
    assert (levels == turned.T).all()
    assert (same == steps).all()


def test_two_bits_err_less_than_ternary_and_ternary_less_than_binary():
    weight = drawn(8, 90).reshape(8, 10, 3, 3)
    off = []
    for width in ("w2", "ternary", "binary"):
        levels, steps = few(weight, 0, width)
        off.append(np.square(levels * steps.reshape(-1, 1, 1, 1) - weight).sum())
    assert off[0] < off[1] < off[2]
    with pytest.raises(ValueError, match="more than four"):
        few(weight, 0, "w4")
