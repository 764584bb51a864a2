"""Stores weights at the levels that they were trained on; nothing is calibrated.

Where what flows is rounded in the graph (`qat` with `w8`), weights become int8 and biases int32
behind DequantizeLinear, from which ONNX Runtime forms its integer kernels. Fewer levels are packed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.errors import ModelError
from edgepack.quantize.packed import store_packed
from edgepack.quantize.survey import CONVOLUTIONS, PRODUCTS, float_weights
from edgepack.types import Frozen, Grid, QuantTable

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

CLOSE = 1e-3
"""How far a number may lie from its level, in distances of levels."""
MOST = 2**31 - 1
"""Of a bias in whole numbers."""
UNCHANGED = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "MaxPool"})
"""Operators whose outputs lie on the levels of their input."""


class Learned(Frozen):
    """What is stored.

    Attributes:
        integer: weights that become int8, by initializer.
        packed: weights that are packed, and their width.
        biases: that become int32.
    """

    integer: tuple[str, ...]
    packed: dict[str, str]
    biases: tuple[str, ...]

    @property
    def scheme(self) -> str:
        """What the graph is called afterwards."""
        widths = sorted(set(self.packed.values()))
        return f"{widths[0]}-weight-only" if widths else "w8a8-static"


def store_learned(proto: onnx.ModelProto, table: QuantTable) -> Learned:
    """Store the weights that a table knows, in place.

    Raises:
        ModelError: E489 when a weight no longer lies on its levels.
    """
    grids = dict(_found(proto, name, grid) for name, grid in table.grids.items())
    makers = {name: node for node in proto.graph.node for name in node.output}
    integer: list[str] = []
    biases: list[str] = []
    for node in proto.graph.node:
        grid = grids.get(node.input[1]) if node.op_type in CONVOLUTIONS | PRODUCTS else None
        rounding = _rounding(node.input[0], makers) if grid is not None else None
        if grid is None or rounding is None or grid.width != "w8":
            continue
        integer.append(node.input[1])
        if len(node.input) > 2 and _store_bias(proto, node, rounding, grid):
            biases.append(node.input[2])
    packed = {name: grid.width for name, grid in grids.items() if name not in integer}
    for name, grid in grids.items():
        levels, scales = _levels(_array(proto, name), grid), np.asarray(grid.scales, np.float32)
        if name in integer:
            convolves = any(
                name in node.input and node.op_type in CONVOLUTIONS for node in proto.graph.node
            )
            _store_int8(proto, name, levels.astype(np.int8), scales, grid.axis, zero=not convolves)
        else:
            zeros = np.asarray(grid.zeros, np.int64) if grid.zeros else None
            store_packed(proto, name, levels, scales, zeros, grid.axis, grid.width)
    return Learned(
        integer=tuple(dict.fromkeys(integer)), packed=packed, biases=tuple(dict.fromkeys(biases))
    )


def _found(proto: onnx.ModelProto, name: str, grid: Grid) -> tuple[str, Grid]:
    """Return the initializer that lies on a grid: that of its name, or what passes made of it.

    Raises:
        ModelError: E489 when there is none.
    """
    weights = [n for n, t in float_weights(proto).items() if len(t.dims) > 1 and n != name]
    known = [name] if name in float_weights(proto) else []
    for other in (*known, *weights):
        weight = _array(proto, other)
        turned = (grid.axis, 1 - grid.axis) if weight.ndim == 2 and grid.axis is not None else ()
        for axis in turned or (grid.axis,):
            moved = grid.model_copy(update={"axis": axis})
            if _fits(weight, moved):
                return other, moved
    raise ModelError(
        "E489",
        f"`{name}` no longer lies on the levels that it was trained on",
        why="a step after `qat` changed the weights",
        fix="leave out that step, or put it before `qat`",
    )


def _fits(weight: Array, grid: Grid) -> bool:
    if grid.axis is not None and weight.shape[grid.axis] != len(grid.scales):
        return False
    scale, _ = _shaped(grid, weight.ndim)
    levels = weight / scale
    return bool(np.abs(levels - np.rint(levels)).max() < CLOSE and np.abs(levels).max() < MOST)


def _levels(weight: Array, grid: Grid) -> Array:
    """Return the level of each number, as int32."""
    scale, zero = _shaped(grid, weight.ndim)
    levels: Array = (np.rint(weight / scale) + zero).astype(np.int32)
    return levels


def _shaped(grid: Grid, rank: int) -> tuple[Array, Array]:
    """Return scales and zeros, shaped to go with a weight."""
    shape = [-1 if place == grid.axis else 1 for place in range(rank)]
    scales = np.asarray(grid.scales, np.float32)
    zeros = np.asarray(grid.zeros or np.zeros(len(scales)))
    return scales.reshape(shape), zeros.reshape(shape)


def _rounding(name: str, makers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Return the DequantizeLinear on whose levels a tensor lies."""
    maker = makers.get(name)
    while maker is not None and maker.op_type in UNCHANGED:
        maker = makers.get(maker.input[0])
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _store_bias(
    proto: onnx.ModelProto, node: onnx.NodeProto, rounding: onnx.NodeProto, grid: Grid
) -> bool:
    """Store the bias of a layer as int32 in units of its products; say whether it can be."""
    name = node.input[2]
    if name not in float_weights(proto):
        return False
    scale = _array(proto, rounding.input[1]).reshape(()) * np.asarray(grid.scales, np.float32)
    levels = np.rint(_array(proto, name).astype(np.float64) / scale)
    if levels.shape != scale.shape or np.abs(levels).max() > MOST:
        return False
    stored = f"{node.output[0]}_bias"
    node.input[2] = stored
    _dequantised(proto, stored, levels.astype(np.int32), scale, 0, zero=False)
    return True


def _store_int8(
    proto: onnx.ModelProto, name: str, levels: Array, scale: Array, axis: int | None, *, zero: bool
) -> None:
    old = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    proto.graph.initializer.remove(old)
    _dequantised(proto, name, levels, scale, axis, zero=zero)


def _dequantised(
    proto: onnx.ModelProto, name: str, levels: Array, scale: Array, axis: int | None, *, zero: bool
) -> None:
    """Add whole numbers and the DequantizeLinear that gives them meaning under a name."""
    from onnx import helper, numpy_helper

    parts = {f"{name}_levels": levels, f"{name}_scale": scale if axis is not None else scale[0]}
    if zero:
        parts[f"{name}_zero"] = np.zeros(scale.shape if axis is not None else (), levels.dtype)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a), n) for n, a in parts.items()
    )
    options = {} if axis is None else {"axis": axis}
    node = helper.make_node(
        "DequantizeLinear", list(parts), [name], f"{name}_dequantised", **options
    )
    proto.graph.node.insert(0, node)


def _array(proto: onnx.ModelProto, name: str) -> Array:
    from onnx import numpy_helper

    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    array: Array = numpy_helper.to_array(tensor)
    return array
