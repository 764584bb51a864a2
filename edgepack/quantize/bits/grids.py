"""Blocks of a matrix's rows: a scale and a zero point for every `group` weights of a row.

weight = (level - zero) * scale, with levels from 0 to 2^bits - 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgepack.types import Array


@dataclass(frozen=True)
class Kind:
    """How weights are stored.

    Attributes:
        bits: of a level.
        group: weights of a row that share a scale.
        symmetric: the zero point is the middle level.
    """

    bits: int
    group: int
    symmetric: bool

    @property
    def most(self) -> int:
        """The highest level."""
        return int(2**self.bits - 1)


@dataclass(frozen=True)
class Blocks:
    """A matrix [out, in] at its levels.

    Attributes:
        levels: uint8 [out, in].
        scale: float32 [out, blocks].
        zero: uint8 [out, blocks].
        kind: how they are stored.
    """

    levels: Array
    scale: Array
    zero: Array
    kind: Kind

    def values(self) -> Array:
        """Return what the levels stand for, float32 [out, in]."""
        size = self.levels.shape[1]
        scale, zero = (
            np.repeat(part, self.kind.group, axis=1)[:, :size] for part in (self.scale, self.zero)
        )
        found: Array = (self.levels.astype(np.float32) - zero) * scale
        return found


def split(weight: Array, group: int) -> Array:
    """Return a matrix [out, in] as [out, blocks, group], the last block filled up with zeros."""
    rows, size = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -size % group)))
    return padded.reshape(rows, -1, group)


def joined(blocks: Array, size: int) -> Array:
    """Return what `split` made of a matrix with `size` columns to that matrix."""
    matrix: Array = blocks.reshape(len(blocks), -1)[:, :size]
    return matrix


def extremes(blocks: Array, kind: Kind) -> tuple[Array, Array]:
    """Return scales, float32, and zero points, whole numbers, that reach the extremes of blocks.

    Symmetric levels reach one further down than up; the scale takes the sign that gives the extra
    one to the number of largest magnitude.

    Args:
        blocks: [..., group].
        kind: how they are stored.
    """
    low, high = np.minimum(blocks.min(axis=-1), 0), np.maximum(blocks.max(axis=-1), 0)
    if kind.symmetric:
        middle = 2 ** (kind.bits - 1)
        scale = np.where(-low >= high, -low, -high) / middle
        zero = np.full(scale.shape, float(middle))
    else:
        scale = (high - low) / kind.most
        zero = np.round(-low / np.where(scale > 0, scale, 1.0))
    scale = scale.astype(np.float32)
    return np.where(scale == 0, np.float32(1), scale), zero


def nearest(blocks: Array, scale: Array, zero: Array, kind: Kind) -> Array:
    """Return the nearest levels, as float: blocks [..., group], scale and zero [...]."""
    levels = np.round(blocks / scale[..., None] + zero[..., None])
    return np.clip(levels, 0, kind.most)


def output_error(difference: Array, seen: Array) -> float:
    """Return the squared error of a layer's output, trace(E H E^T).

    Args:
        difference: E, [out, in].
        seen: H = X X^T of the layer's input, [in, in].
    """
    return float(np.einsum("ij,ij->", difference @ seen, difference))
