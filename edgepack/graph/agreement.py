"""How far two sets of outputs stand apart; measures, never judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.types import Array, Tensors


SMALL = 1e-3
"""Outputs smaller than this are measured against it: what is computed near one, as a sigmoid is,
carries float32's rounding of 1e-7 whatever its own size."""
ROUNDING = 1e-6
"""Absolute difference, a few roundings near one, under which no direction can be told."""


class Agreement(Frozen):
    """One vector's outputs against the expected ones.

    Attributes:
        exact: every output has the same dtype, shape and bytes.
        relative: largest absolute difference over the largest expected magnitude of that output,
            or over `SMALL` if that is larger; the worst over the outputs. Only finite values are
            measured; infinite where shapes differ, or NaN or an infinity stands against anything
            but its like.
        cosine: the smallest over the outputs, so that a large one hides no small one: of a float
            output's finite values (1 where none differs by more than `ROUNDING`; 0 where
            `relative` is infinite); of another, the share of its values that are equal.
    """

    exact: bool
    relative: float
    cosine: float


def agreement(expected: Tensors, got: Tensors) -> Agreement:
    """Compare one vector's outputs, name by name.

    Raises:
        KeyError: when an expected output is missing.
    """
    pairs = [(np.asarray(expected[name]), np.asarray(got[name])) for name in expected]
    same = all(a.dtype == b.dtype and a.shape == b.shape for a, b in pairs)
    if not same:
        return Agreement(exact=False, relative=float("inf"), cosine=0.0)
    return Agreement(
        exact=all(a.tobytes() == b.tobytes() for a, b in pairs),
        relative=max((_relative(a, b) for a, b in pairs), default=0.0),
        cosine=min((_likeness(a, b) for a, b in pairs), default=1.0),
    )


def sqnr(expected: Tensors, got: Tensors) -> float:
    """Return the power of the finite float outputs over that of their difference, in decibels.

    200 stands for no difference, -200 for outputs that are of another shape.
    """
    signal = noise = 0.0
    for name in expected:
        a, b = np.asarray(expected[name]), np.asarray(got[name])
        if a.dtype.kind != "f":
            continue
        if a.shape != b.shape:
            return -200.0
        both = np.isfinite(a) & np.isfinite(b)
        signal += float(np.square(a[both], dtype=np.float64).sum())
        noise += float(np.square(a[both].astype(np.float64) - b[both]).sum())
    return decibel(signal, noise)


def decibel(signal: float, noise: float) -> float:
    """Return a ratio of powers; 200 dB stands for no noise at all, which has no logarithm."""
    if noise == 0:
        return 200.0
    return float(10 * np.log10(max(signal, 1e-30) / noise)) if np.isfinite(noise) else -200.0


def flipped(expected: Array, got: Array) -> bool | None:
    """Whether another score is the largest; None for what is no row of scores."""
    if expected.shape != got.shape or expected.ndim != 2 or expected.shape[1] < 2:
        return None
    changed = expected.argmax(axis=1) != got.argmax(axis=1)
    return bool(changed.any() or np.isnan(got).any())


def cosine(a: Array, b: Array) -> float:
    """Cosine of two flat vectors; two zero vectors agree, one alone does not; NaN gives 0."""
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norms == 0.0:
        return float(not a.any() and not b.any())
    value = float(np.dot(a, b)) / norms
    return min(1.0, max(-1.0, value)) if np.isfinite(value) else 0.0


def _relative(a: Array, b: Array) -> float:
    if a.size == 0 or np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return 0.0
    if a.dtype.kind not in "fiu":
        return float("inf")
    if (pair := _finite(a, b)) is None:
        return float("inf")
    difference = float(np.abs(pair[0] - pair[1]).max(initial=0.0))
    return difference / float(np.abs(pair[0]).max(initial=SMALL))


def _likeness(a: Array, b: Array) -> float:
    """Cosine of two float tensors, or the share of equal values of two others."""
    if a.size == 0:
        return 1.0
    if a.dtype.kind != "f":
        return float(np.mean(a == b))
    if (pair := _finite(a, b)) is None:
        return 0.0
    return 1.0 if np.allclose(*pair, rtol=0.0, atol=ROUNDING) else cosine(*pair)


def _finite(a: Array, b: Array) -> tuple[Array, Array] | None:
    """Return the finite values of both, flat in float64; None where the others are not equal."""
    wide_a, wide_b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    finite = np.isfinite(wide_a) & np.isfinite(wide_b)
    if not np.array_equal(wide_a[~finite], wide_b[~finite], equal_nan=True):
        return None
    return wide_a[finite], wide_b[finite]
