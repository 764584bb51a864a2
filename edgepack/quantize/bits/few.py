"""Four, three or two levels an output channel, for bytes that hold several.

Binary: the sign, times the mean magnitude (Rastegari et al., XNOR-Net, arXiv:1603.05279). Ternary:
zero below 0.7 of the mean magnitude, and the mean of what lies above (Li et al., Ternary Weight
Networks, arXiv:1605.04711). Two bits: -2 to 1, with the step of least squared error, of either
sign. Steps are numbers of float16, in which they are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgepack.types import Array, Width

THRESHOLD = 0.7
STEPS = np.concatenate([np.linspace(0.2, 1.0, 33), -np.linspace(0.2, 1.0, 33)])


def few(weight: Array, axis: int, width: Width) -> tuple[Array, Array]:
    """Return levels, shaped as the weight, and steps, float32, one a channel.

    Raises:
        ValueError: the width has more levels.
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float32)
    size = np.abs(rows)
    if width == "binary":
        levels = np.where(rows < 0, -1, 1)
        steps = size.mean(axis=1)
    elif width == "ternary":
        large = size > THRESHOLD * size.mean(axis=1, keepdims=True)
        levels = np.where(large, np.sign(rows), 0)
        steps = (size * large).sum(axis=1) / np.maximum(large.sum(axis=1), 1)
    elif width == "w2":
        levels, steps = _four(rows)
    else:
        raise ValueError(f"{width} has more than four levels")
    steps = steps.astype(np.float16).astype(np.float32)
    moved = levels.astype(np.int64).reshape(np.moveaxis(weight, axis, 0).shape)
    return np.moveaxis(moved, 0, axis), steps


def _four(rows: Array) -> tuple[Array, Array]:
    least = np.full(len(rows), np.inf)
    best: Array = np.ones(len(rows))
    for share in STEPS:
        steps = share * np.maximum(np.abs(rows).max(axis=1), 1e-6)
        levels = np.clip(np.round(rows / steps[:, None]), -2, 1)
        error = np.square(rows - levels * steps[:, None]).sum(axis=1)
        best, least = np.where(error < least, steps, best), np.minimum(error, least)
    best = best.astype(np.float16).astype(np.float32)
    best = np.where(best == 0, 1, best)
    return np.clip(np.round(rows / best[:, None]), -2, 1), best
