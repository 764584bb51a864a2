"""Rounds column by column, and lets the columns that follow make up for each error.

With H = X X^T of what the layer saw, U the upper Cholesky factor of H's inverse: once column j is
rounded, its error over U_jj times row j of U goes out of the columns to come, which is where the
layer's output errs least. Scales of a block come from its columns as they are by then.

Source: Frantar et al., GPTQ, arXiv:2210.17323.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.bits.grids import Blocks, Kind, extremes, nearest

if TYPE_CHECKING:
    from edgepack.types import Array

DAMPENING = 0.01
"""Share of H's mean diagonal that is added to it."""


def gptq(weight: Array, seen: Array, kind: Kind) -> Blocks:
    """Return a matrix [out, in] at levels of least output error.

    Args:
        weight: the matrix.
        seen: H, [in, in].
        kind: how it is stored.
    """
    rest = weight.astype(np.float64)
    rows, size = weight.shape
    upper = _factor(seen)
    levels = np.zeros(weight.shape, np.uint8)
    scales, zeros = [], []
    for start in range(0, size, kind.group):
        end = min(start + kind.group, size)
        scale, zero = extremes(rest[:, start:end], kind)
        errors = np.zeros((rows, end - start))
        for place in range(start, end):
            column = rest[:, place]
            level = nearest(column[:, None], scale, zero, kind)[:, 0]
            levels[:, place] = level
            error = (column - (level - zero) * scale) / upper[place, place]
            rest[:, place + 1 : end] -= np.outer(error, upper[place, place + 1 : end])
            errors[:, place - start] = error
        rest[:, end:] -= errors @ upper[start:end, end:]
        scales.append(scale)
        zeros.append(zero)
    return Blocks(levels, np.stack(scales, 1), np.stack(zeros, 1).astype(np.uint8), kind)


def _factor(seen: Array) -> Array:
    """Return U with U^T U the inverse of the dampened H."""
    seen = seen.astype(np.float64)
    mean = np.diagonal(seen).mean()
    damped = seen + np.eye(len(seen)) * (DAMPENING * mean if mean > 0 else 1.0)
    factor: Array = np.linalg.cholesky(np.linalg.inv(damped)).T
    return factor
