"""The gate's eye for tensors: dtype, dims and data must agree to the byte.

A tensor that passes is rewritten in one form: raw little-endian bytes inside the model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.errors import ModelError
from edgepack.graph.external import read_external

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64,
    15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
"""Bits of one element by `TensorProto.DataType`; several share a byte below 8."""
STRING = 8
INT64 = 7
TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_WIDE = {1: "float_data", 7: "int64_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data",
         14: "float_data", 15: "double_data"}  # fmt: skip
MAX_BYTES = 4 << 30
"""Bytes of all the weights of one model: no artifact holds more, and memory is bounded."""


class Tensors:
    """Checks and embeds every tensor of one model.

    Args:
        folder: where external data must lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes = 0

    def embed(self, tensor: onnx.TensorProto, where: str) -> None:
        """Check a tensor and rewrite it in place.

        Raises:
            ModelError: E406 malformed, E407 external data refused, E415 too large.
        """
        dims, dtype, name = list(tensor.dims), tensor.data_type, tensor.name
        size = self._size(dims, dtype, where)
        if dtype == STRING:
            if _fields(tensor) not in ([], ["string_data"]) or len(tensor.string_data) != size:
                raise malformed(where, f"{size} strings are announced, its data differ")
            texts = list(tensor.string_data)
            tensor.Clear()
            tensor.string_data.extend(texts)
        else:
            raw = self._raw(tensor, size, where)
            tensor.Clear()
            tensor.raw_data = raw
        tensor.name, tensor.data_type = name, dtype
        tensor.dims.extend(dims)

    def densify(self, sparse: onnx.SparseTensorProto, where: str) -> onnx.TensorProto:
        """Check a sparse tensor and return it as a dense one of the same name."""
        import onnx

        self.embed(sparse.values, f"{where} (values)")
        self.embed(sparse.indices, f"{where} (indices)")
        dims, dtype = list(sparse.dims), sparse.values.data_type
        size = self._size(dims, dtype, where)
        if BITS.get(dtype, 0) < 8 or list(sparse.values.dims) != [math.prod(sparse.values.dims)]:
            raise malformed(where, "values of a sparse tensor must be a vector of whole bytes")
        values = np.frombuffer(sparse.values.raw_data, f"V{BITS[dtype] // 8}")
        places = _places(sparse, dims, size, where)
        dense = np.zeros(size, values.dtype)
        dense[places] = values
        return onnx.TensorProto(
            name=sparse.values.name, data_type=dtype, dims=dims, raw_data=dense.tobytes()
        )

    def _size(self, dims: list[int], dtype: int, where: str) -> int:
        """Return the number of elements, and count their bytes against the model's limit."""
        if dtype != STRING and dtype not in BITS:
            raise malformed(where, f"data type {dtype} is not known")
        if any(d < 0 for d in dims):
            raise malformed(where, f"negative dimension in {dims}")
        self._bytes += math.prod(dims) * BITS.get(dtype, 8) // 8
        # A zero among the dims must not excuse what the others cannot be.
        if max(self._bytes, math.prod(d or 1 for d in dims)) > MAX_BYTES:
            raise ModelError(
                "E415",
                "the weights are larger than 4 GiB",
                where=where,
                fix="choose a smaller model, or quantise it before it is exported",
            )
        return math.prod(dims)

    def _raw(self, tensor: onnx.TensorProto, size: int, where: str) -> bytes:
        need = (size * BITS[tensor.data_type] + 7) // 8
        fields = _fields(tensor)
        if tensor.HasField("segment"):
            raise malformed(where, "segments are not supported")
        external = tensor.data_location == tensor.EXTERNAL
        if external != bool(tensor.external_data) or len(fields) + external > 1:
            raise malformed(where, "its data are given in more than one place")
        if external:
            entries = [(entry.key, entry.value) for entry in tensor.external_data]
            return read_external(self._folder, entries, need, where)
        raw = bytes(tensor.raw_data) if fields == ["raw_data"] else _typed(tensor, fields, where)
        if len(raw) != need:
            raise malformed(where, f"{list(tensor.dims)} needs {need} bytes, it has {len(raw)}")
        return raw


def malformed(where: str, why: str) -> ModelError:
    """Return the error for a tensor that is not what it says."""
    return ModelError(
        "E406", f"{where} is malformed", why=why, fix="export or download the model again"
    )


def _fields(tensor: onnx.TensorProto) -> list[str]:
    """Name the fields that hold data."""
    return [f for f in (*TYPED, "raw_data") if len(getattr(tensor, f))]


def _typed(tensor: onnx.TensorProto, fields: list[str], where: str) -> bytes:
    """Return the raw bytes of a tensor that spells its elements out."""
    if not fields:
        return b""
    field = _WIDE.get(tensor.data_type, "int32_data")
    if fields != [field]:
        raise malformed(where, f"data type {tensor.data_type} is not kept in {fields[0]}")
    values: Any = np.array(getattr(tensor, field))
    if field != "int32_data" or tensor.data_type == 6:
        code = {"float_data": "<f4", "int32_data": "<i4", "int64_data": "<i8",
                "double_data": "<f8", "uint64_data": "<u8"}[field]  # fmt: skip
        wide = "<u4" if tensor.data_type == 12 else code
        if tensor.data_type == 12 and values.max(initial=0) > 0xFFFFFFFF:
            raise malformed(where, "a value is out of its type's range")
        return bytes(values.astype(wide).tobytes())
    # Types of 16 bits or fewer: bit patterns, or signed numbers, one an entry (packed below 8).
    bits = max(8, BITS[tensor.data_type])
    if values.min(initial=0) < -(1 << (bits - 1)) or values.max(initial=0) >= 1 << bits:
        raise malformed(where, "a value is out of its type's range")
    return bytes(values.astype(f"<i{bits // 8}", casting="unsafe").tobytes())


def _places(sparse: onnx.SparseTensorProto, dims: list[int], size: int, where: str) -> Array:
    """Return the flat, ascending index of each value of a sparse tensor."""
    if sparse.indices.data_type != INT64:
        raise malformed(where, "indices must be int64")
    count = sparse.values.dims[0]
    indices = np.frombuffer(sparse.indices.raw_data, "<i8")
    shape = list(sparse.indices.dims)
    if shape == [count, len(dims)] and len(dims) > 0:
        columns = indices.reshape(shape)
        if ((columns < 0) | (columns >= np.array(dims))).any():
            raise malformed(where, "an index lies outside the tensor")
        indices = np.ravel_multi_index(tuple(columns.T), dims)
    elif shape != [count]:
        raise malformed(where, f"{count} values, but indices of the shape {shape}")
    if ((indices < 0) | (indices >= size)).any() or (np.diff(indices) <= 0).any():
        raise malformed(where, "indices must ascend and lie inside the tensor")
    return indices
