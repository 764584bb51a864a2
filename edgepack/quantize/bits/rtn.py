"""Rounds to the nearest level between the extremes of each block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.bits.grids import Blocks, Kind, extremes, joined, nearest, split

if TYPE_CHECKING:
    from edgepack.types import Array


def rtn(weight: Array, kind: Kind) -> Blocks:
    """Return a matrix [out, in] at its nearest levels."""
    blocks = split(weight, kind.group)
    scale, zero = extremes(blocks, kind)
    levels = joined(nearest(blocks, scale, zero, kind), weight.shape[1])
    return Blocks(levels.astype(np.uint8), scale, zero.astype(np.uint8), kind)
