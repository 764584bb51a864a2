"""Fits scales and zero points of blocks to the weights alone; no data is needed.

The error that is lowered forgives outliers: with e shrunk towards zero from W - Q, generalised for
a norm below 1, the parameters are fitted to W - e, in turns. Kernels for whole zero points are the
fast ones, so that zeros are rounded and the scale is fitted too; a block that does not gain keeps
its extremes.

Source: Badri and Shaji, Half-Quadratic Quantization of Large Machine Learning Models, 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.bits.grids import Blocks, Kind, extremes, joined, nearest, split

if TYPE_CHECKING:
    from edgepack.types import Array

TURNS = 20
NORM = 0.7
BETA, GROWTH = 10.0, 1.01


def hqq(weight: Array, kind: Kind) -> Blocks:
    """Return a matrix [out, in] at fitted levels; no block's squared error is above `rtn`'s."""
    blocks = split(weight, kind.group).astype(np.float32)
    scale, zero = extremes(blocks, kind)
    best = (scale, zero)
    least: Array = _error(blocks, scale, zero, kind)
    beta = BETA
    for _ in range(TURNS):
        levels = nearest(blocks, scale, zero, kind)
        rest = blocks - (levels - zero[..., None]) * scale[..., None]
        kept = blocks - _shrunk(rest, beta)
        if not kind.symmetric:
            moved: Array = np.mean(levels - kept / scale[..., None], axis=-1)
            zero = np.clip(np.round(moved), 0, kind.most)
        centred = levels - zero[..., None]
        power = np.einsum("...g,...g->...", centred, centred)
        fitted: Array = np.einsum("...g,...g->...", centred, kept) / np.where(power > 0, power, 1)
        scale = np.where(np.abs(fitted) > 0, fitted, scale).astype(np.float32)
        error = _error(blocks, scale, zero, kind)
        better = error < least
        best = (np.where(better, scale, best[0]), np.where(better, zero, best[1]))
        least = np.where(better, error, least)
        beta *= GROWTH
    scale, zero = best
    levels = joined(nearest(blocks, scale, zero, kind), weight.shape[1])
    return Blocks(levels.astype(np.uint8), scale, zero.astype(np.uint8), kind)


def _shrunk(rest: Array, beta: float) -> Array:
    """Return the proximal step of the norm: small errors to zero, large ones nearly whole."""
    size = np.abs(rest)
    less = size - np.where(size > 0, size, 1) ** (NORM - 1) / beta
    found: Array = np.sign(rest) * np.maximum(less, 0)
    return found


def _error(blocks: Array, scale: Array, zero: Array, kind: Kind) -> Array:
    levels = nearest(blocks, scale, zero, kind)
    rest = blocks - (levels - zero[..., None]) * scale[..., None]
    found: Array = np.einsum("...g,...g->...", rest, rest)
    return found
