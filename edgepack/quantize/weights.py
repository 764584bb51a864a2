"""Float weights to 8 bits: scales, zero points and rounding in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgepack.types import Array


@dataclass(frozen=True)
class Quantised:
    """Integers, and the scale and zero point that give them meaning: w = (q - zero) * scale.

    Attributes:
        values: int8 or uint8, as the weight was shaped.
        scale: float32 scalar, or one number a channel.
        zero: of the dtype of `values`, shaped as `scale`.
    """

    values: Array
    scale: Array
    zero: Array


def to_int8(weight: Array, axis: int | None, *, signed: bool, narrow: bool) -> Quantised:
    """Quantise a weight by its extremes, per tensor (`axis` None) or along an axis.

    Signed weights are symmetric around a zero point of 0, in [-127, 127]; unsigned ones spend all
    levels on [min, max] with zero inside. `narrow` takes one bit less, signed [-64, 64]: then the
    sum of two products with unsigned bytes fits 16 bits, and x86 without VNNI does not saturate.

    Source: Jacob et al., Quantization and Training of Neural Networks, arXiv:1712.05877, section 2.
    """
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    low = np.minimum(weight.min(axis=others, keepdims=True), 0).astype(np.float64)
    high = np.maximum(weight.max(axis=others, keepdims=True), 0).astype(np.float64)
    if signed:
        levels = 64 if narrow else 127
        scale = np.maximum(-low, high) / levels
        least, most = -levels, levels
    else:
        levels = 127 if narrow else 255
        scale = (high - low) / levels
        least, most = 0, levels
    dtype = np.int8 if signed else np.uint8
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)  # a channel of zeros
    zero = np.zeros_like(scale) if signed else np.clip(np.round(-low / scale), least, most)
    values = np.clip(np.round(weight / scale) + zero, least, most).astype(dtype)
    shape = () if axis is None else (weight.shape[axis],)
    return Quantised(values, scale.reshape(shape), zero.astype(dtype).reshape(shape))
