"""How a model lies on disk: one file, or two where the weights outgrow one protobuf message.

Which of the two is decided from the size of the weights, before anything is serialised. Weights
beside the model lie in its order, each at a multiple of `ALIGNED` bytes; small ones stay inside.
This is the only place that knows.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.errors import ModelError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes that one protobuf message can hold."""
SINGLE_FILE = PROTOBUF_LIMIT - (1 << 26)
"""Most bytes of weights that lie in the model's own file; the rest of a message is for nodes."""
INSIDE = 1024
"""Weights of fewer bytes stay in the model, where shape inference sees them."""
ALIGNED = 4096
"""A page, so that a runtime can map each weight from the file."""
BYTE = 8
_PLACE = "edgepack.place"
"""Key under which a mapped weight keeps its file, as a `_Held`, and its offset there."""
MODEL_FILE, DATA_SUFFIX = "model.onnx", ".data"


@dataclass(frozen=True)
class Layout:
    """The files of one model, before they are written.

    Attributes:
        model: the ``.onnx`` file.
        beside: weights that lie in the data file, each with its offset; none for a single file.
    """

    model: bytes
    beside: tuple[tuple[int, ir.TensorProtocol], ...]

    @property
    def size(self) -> int:
        """Bytes of both files."""
        offset, last = self.beside[-1] if self.beside else (0, None)
        return len(self.model) + offset + (last.nbytes if last is not None else 0)

    def data(self) -> Iterator[bytes | memoryview]:
        """Yield the data file piece by piece; no more than one weight is held at once."""
        at = 0
        for offset, tensor in self.beside:
            yield bytes(offset - at)
            yield tensor.tobytes()
            at = offset + tensor.nbytes

    def write(self, path: Path) -> None:
        """Write the model, and its data before it, into a folder of ours.

        Data that lie in a file of ours already, each at its place, become another name of it.
        """
        if not self._link(data_file(path)):
            self.write_data(data_file(path))
        path.write_bytes(self.model)

    def write_data(self, data: Path) -> None:
        """Write the data file, or remove one that is not needed.

        A file that is there is never written into: its weights may be mapped, even by this layout.
        """
        data.unlink(missing_ok=True)
        if self.beside:
            with data.open("xb") as stream:
                for piece in self.data():
                    stream.write(piece)

    def _link(self, data: Path) -> bool:
        """Give the file that holds exactly these weights another name, where that is possible."""
        places = [tensor.meta.get(_PLACE) for _, tensor in self.beside]
        if not places or places[0] is None:
            return False
        held = places[0][0]
        whole = os.fstat(held.descriptor).st_size == self.size - len(self.model)
        if not whole or places != [(held, offset) for offset, _ in self.beside]:
            return False
        data.unlink(missing_ok=True)
        try:
            # Python follows a link only where it is given a folder to begin from.
            name = f"/proc/self/fd/{held.descriptor}"
            os.link(name, data, src_dir_fd=held.descriptor, follow_symlinks=True)
        except OSError:  # its last name is gone, or it lies on another disk
            return False
        return True


def data_file(path: Path) -> Path:
    """Return where the weights of a model's file lie, if they do not lie inside it."""
    return path.with_name(f"{path.name}{DATA_SUFFIX}")


def files(path: Path) -> tuple[Path, ...]:
    """Return a model's file, and the one with its weights where there is one."""
    return tuple(file for file in (path, data_file(path)) if file.exists())


def weigh(model: ir.Model) -> int:
    """Return the bytes of all weights, subgraphs included."""
    return sum(value.const_value.nbytes for value in _weights(model))


def lay_out(model: ir.Model, name: str = MODEL_FILE) -> Layout:
    """Decide where each weight lies, and serialise the model without those beside it.

    Raises:
        ModelError: E427 when the model is too large even so.
    """
    import onnx_ir as ir

    if weigh(model) <= SINGLE_FILE:
        return Layout(_bytes(to_proto(model), model), ())
    outline = model.clone()
    beside: list[tuple[int, ir.TensorProtocol]] = []
    end = 0
    for value in _weights(outline):
        tensor = value.const_value
        if tensor.nbytes < INSIDE or tensor.dtype == ir.DataType.STRING:
            continue
        offset = -(-end // ALIGNED) * ALIGNED
        end = offset + tensor.nbytes
        beside.append((offset, tensor))
        value.const_value = ir.ExternalTensor(
            f"{name}{DATA_SUFFIX}",
            offset,
            tensor.nbytes,
            tensor.dtype,
            shape=tensor.shape,
            name=tensor.name,
        )
    return Layout(_bytes(to_proto(outline), model), tuple(beside))


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return the model as a new message, of any size; beyond 2 GiB it cannot be serialised.

    Weights get no value_info: it repeats them, and goes stale once they change.
    """
    import onnx_ir as ir

    proto: onnx.ModelProto = ir.to_proto(model)
    named = {tensor.name for tensor in proto.graph.initializer}
    kept = [info for info in proto.graph.value_info if info.name not in named]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    return proto


def read(path: Path) -> ir.Model:
    """Read what `Layout.write` wrote; weights beside the model are mapped, not read.

    They stay readable when the folder goes.

    Raises:
        ModelError: E428 when the weights beside the model are missing or cut short.
    """
    import onnx
    import onnx_ir as ir

    model = ir.from_proto(onnx.load(path, load_external_data=False))
    beside = [v for v in _weights(model) if isinstance(v.const_value, ir.ExternalTensor)]
    if beside:
        mapped, held = _mapped(data_file(path), max(_end(value.const_value) for value in beside))
        for value in beside:
            offset = value.const_value.offset
            value.const_value = _view(mapped, value.const_value)
            value.const_value.meta[_PLACE] = (held, offset)
    return model


def save_proto(proto: onnx.ModelProto, path: Path) -> None:
    """Write a message of any size, as one file or two."""
    import onnx_ir as ir

    if sum(len(tensor.raw_data) for tensor in proto.graph.initializer) <= SINGLE_FILE:
        path.write_bytes(proto.SerializeToString(deterministic=True))
    else:
        lay_out(ir.from_proto(proto), path.name).write(path)


def load_proto(path: Path) -> onnx.ModelProto:
    """Read what `save_proto` wrote, all weights included.

    Raises:
        ModelError: E428 when the weights beside the model are missing or cut short.
    """
    import onnx
    from onnx import TensorProto

    proto = onnx.load(path, load_external_data=False)
    beside = [t for t in proto.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if not beside:
        return proto
    entries = [{entry.key: entry.value for entry in tensor.external_data} for tensor in beside]
    places = [(int(e["offset"]), int(e["offset"]) + int(e["length"])) for e in entries]
    # A model that was made from another one may still refer to that one's weights.
    mapped, _ = _mapped(path.with_name(entries[0]["location"]), max(end for _, end in places))
    for tensor, (start, end) in zip(beside, places, strict=True):
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        tensor.raw_data = mapped[start:end].tobytes()
    return proto


def _weights(model: ir.Model) -> Iterator[Any]:
    for graph in model.graphs():
        yield from (v for v in graph.initializers.values() if v.const_value is not None)


def _bytes(proto: onnx.ModelProto, model: ir.Model) -> bytes:
    from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

    try:
        data: bytes = proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as problem:  # which of them depends on protobuf's backend
        raise ModelError(
            "E427",
            f"`{model.graph.name or 'graph'}` is larger than the 2 GiB that one ONNX file can hold",
            why="its nodes and small tensors alone are",
            fix="choose a smaller model",
        ) from problem
    return data


class _Held:
    """A file that stays open as long as this object lives."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)


def _mapped(data: Path, end: int) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], _Held]:
    size = data.stat().st_size if data.is_file() and not data.is_symlink() else 0
    if size < end:
        raise ModelError(
            "E428",
            f"the weights in {data.name} are missing or cut short",
            why=f"{end} bytes are needed and {size} are there",
            fix="`edgepack cache verify --fix`, and build again",
        )
    with data.open("rb") as stream:
        return np.memmap(stream, np.uint8, mode="r"), _Held(os.dup(stream.fileno()))


def _end(tensor: ir.ExternalTensor) -> int:
    return (tensor.offset or 0) + (tensor.length or 0)


def _view(mapped: np.ndarray[Any, Any], tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    """Return a tensor whose elements are those of the mapped file."""
    import onnx_ir as ir

    raw = mapped[tensor.offset : _end(tensor)].view(np.ndarray)
    if tensor.dtype.bitwidth < BYTE:
        return ir.PackedTensor(raw, tensor.dtype, shape=tensor.shape, name=tensor.name)
    array = raw.view(tensor.dtype.numpy()).reshape(tensor.shape.numpy())
    return ir.Tensor(array, tensor.dtype, shape=tensor.shape, name=tensor.name)
