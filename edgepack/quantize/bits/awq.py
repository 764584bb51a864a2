"""Scales input channels up before rounding where activations are large, and inputs down again.

s = mean|x|^alpha; of several alphas, the one with the least error of the layer's output is taken.
0 is among them, which scales nothing.

Source: Lin et al., AWQ: Activation-aware Weight Quantization, arXiv:2306.00978.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.quantize.bits.grids import Blocks, Kind, output_error
from edgepack.quantize.bits.rtn import rtn

if TYPE_CHECKING:
    from edgepack.types import Array

ALPHAS = tuple(step / 20 for step in range(20))


def awq(weight: Array, seen: Array, size: Array, kind: Kind) -> tuple[Blocks, Array | None]:
    """Return the levels of the scaled matrix, and the scales, float32 [in]; None for none.

    Args:
        weight: [out, in].
        seen: H = X X^T, [in, in].
        size: mean |x| of every input channel, [in].
        kind: how it is stored.
    """
    seen = seen.astype(np.float64)
    best: tuple[float, Blocks, Array | None] | None = None
    for alpha in ALPHAS:
        scales = np.maximum(size, 1e-4 * max(float(size.max()), 1e-12)) ** alpha
        scales = (scales / np.sqrt(scales.max() * scales.min())).astype(np.float32)
        blocks = rtn(weight * scales, kind)
        error = output_error(blocks.values() / scales - weight.astype(np.float64), seen)
        if best is None or error < best[0]:
            best = error, blocks, scales if alpha else None
    assert best is not None
    return best[1], best[2]
