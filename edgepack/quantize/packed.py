"""Stores weights of few levels as bytes that hold several, with standard nodes that expand them.

A byte holds as many digits of base b as fit, least first: 8 of base 2, 5 of base 3, 4 of base 4, 2
of base 16. Digit i of a byte B is (B / b^i) mod b, so that, with a step s and an offset o,

    weight = (s * digit + o - zero) * scale

ONNX Runtime folds all of it when it loads the model: the file is small, the weight in memory float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array, Width

BASES: dict[Width, int] = {"binary": 2, "ternary": 3, "w2": 4, "w4": 16, "w8": 256}
DIGITS: dict[Width, int] = {"binary": 8, "ternary": 5, "w2": 4, "w4": 2, "w8": 1}
FLOAT, INT32 = 1, 6
"""`onnx.TensorProto.FLOAT` and `INT32`."""


def pack(levels: Array, width: Width) -> tuple[Array, int, int]:
    """Return levels as bytes, uint8 [ceil(size / digits)], and the step and offset of their digits.

    Raises:
        ValueError: a level is not one that the width has.
    """
    base, digits = BASES[width], DIGITS[width]
    flat = np.asarray(levels, np.int64).reshape(-1)
    signed = width in {"binary", "ternary"} or bool((flat < 0).any())
    step = 2 if width == "binary" else 1
    offset = -(base // 2) if signed else 0
    found, rest = np.divmod(flat - offset, step)
    if rest.any() or (found < 0).any() or (found >= base).any():
        raise ValueError(f"levels {flat.min()} to {flat.max()} are not all levels of {width}")
    padded = np.zeros(-(-flat.size // digits) * digits, np.int64)
    padded[: flat.size] = found
    packed = padded.reshape(-1, digits) @ base ** np.arange(digits)
    return packed.astype(np.uint8), step, offset


def store_packed(
    proto: onnx.ModelProto,
    name: str,
    levels: Array,
    scale: Array,
    zero: Array | None,
    axis: int | None,
    width: Width,
) -> None:
    """Replace a float initializer, in place, by bytes, scales and the nodes that expand them.

    The expansion has the initializer's name, so readers stay as they are; it equals
    (level - zero) * scale to the last bit. Scales that float16 holds exactly are stored in it.

    Args:
        proto: the model, of opset 13 or later.
        name: the initializer, float32.
        levels: whole numbers, shaped as the weight: -1 and 1 for ``binary``, -1 to 1 for
            ``ternary``, 2^n of them from 0 or from -2^(n-1) for the others.
        scale: one number, or one for each place along `axis`.
        zero: as `scale`; None where levels are symmetric.
        axis: the axis of the scales; None where there is one.
        width: how many levels there are.

    Raises:
        ValueError: a level is not one that the width has.
    """
    from onnx import helper, numpy_helper

    packed, step, offset = pack(levels, width)
    shape = [-1 if place == axis else 1 for place in range(levels.ndim)] if axis is not None else []
    scales = np.asarray(scale, np.float32).reshape(shape)
    half = scales.astype(np.float16)
    exact = np.array_equal(half.astype(np.float32), scales)
    zeros: Array = np.asarray(0 if zero is None else zero, np.float32)
    parts: dict[str, Array] = {
        "packed": packed.reshape(-1, 1),
        "powers": (BASES[width] ** np.arange(DIGITS[width])).astype(np.int32),
        "base": np.array(BASES[width], np.int32),
        "flat": np.array([-1]),
        "start": np.array([0]),
        "size": np.array([levels.size]),
        "shape": np.array(levels.shape, np.int64),
        "step": np.array(step, np.float32),
        "shift": np.float32(-offset) + zeros.reshape(shape if zeros.size > 1 else ()),
        "scale": half if exact else scales,
    }
    chain = [
        ("Cast", ("packed",), "bytes", {"to": INT32}),
        ("Div", ("bytes", "powers"), "shifted", {}),
        ("Mod", ("shifted", "base"), "digits", {}),
        ("Reshape", ("digits", "flat"), "row", {}),
        ("Slice", ("row", "start", "size"), "cut", {}),
        ("Reshape", ("cut", "shape"), "shaped", {}),
        ("Cast", ("shaped",), "float", {"to": FLOAT}),
        ("Mul", ("float", "step"), "stepped", {}),
        ("Sub", ("stepped", "shift"), "levels", {}),
        ("Cast", ("scale",), "scale32", {"to": FLOAT}),
        ("Mul", ("levels", "scale32"), "", {}),
    ]
    old = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    proto.graph.initializer.remove(old)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"{name}.{part}")
        for part, value in parts.items()
    )
    for place, (operator, inputs, output, options) in enumerate(chain):
        node = helper.make_node(
            operator,
            [f"{name}.{part}" for part in inputs],
            [f"{name}.{output}" if output else name],
            f"{name}.expand{place}",
            **options,
        )
        proto.graph.node.insert(place, node)
