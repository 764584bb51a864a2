"""Reads `.npz` and `.npy` files, which may lie about their size."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edgepack.data.folder import Folder
from edgepack.errors import UsageError

if TYPE_CHECKING:
    from edgepack.types import Array

MOST = 2_000_000_000
"""Bytes that the arrays of one file may take."""

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError,
    RuntimeError, SyntaxError,
)  # fmt: skip


class NpzRows:
    """The samples of a file of arrays that share their leading axis, one item a sample."""

    def __init__(self, path: Path, reference: str) -> None:
        self._path = path
        self._reference = reference
        self._columns: dict[str, Array] | None = None

    def __len__(self) -> int:
        return min((len(column) for column in self._read().values()), default=0)

    def __iter__(self) -> Iterator[Any]:
        columns = self._read()
        return ({k: v[i] for k, v in columns.items()} for i in range(len(self)))

    def _read(self) -> dict[str, Array]:
        if self._columns is None:
            columns = read_npz(self._path, self._reference)
            check_columns(columns, self._reference)
            self._columns = columns
        return self._columns


class NpyRows:
    """The samples of one array, along its first axis; they are read from the disk one by one."""

    def __init__(self, path: Path, reference: str) -> None:
        self._path = path
        self._reference = reference

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())

    def _read(self) -> Array:
        array = read_npy(self._path, self._reference)
        check_columns({"the array": array}, self._reference)
        return array


class NpyFolder:
    """The arrays of a folder, one file a sample, with their labels."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __len__(self) -> int:
        return len(self._folder)

    def __iter__(self) -> Iterator[tuple[Mapping[str, Array], Any]]:
        for path, label in self._folder:
            where = f"{self._folder.reference}/{path.relative_to(self._folder.path).as_posix()}"
            yield {"x": read_npy(path, where)}, label

    def labels(self) -> Iterator[Any]:
        """Yield the labels alone; no file is opened."""
        return (label for _, label in self._folder)


def read_npy(path: Path, reference: str) -> Array:
    """Return the array of a file, whose values stay on the disk until they are looked at.

    Raises:
        UsageError: E296 when it is damaged or holds Python objects.
    """
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.dtype.kind not in "biufUS":
            raise ValueError(f"it holds {array.dtype}, which is no plain type")
    except _DAMAGE as problem:
        raise UsageError(
            "E296",
            "the file cannot be read as .npy",
            where=reference,
            why=str(problem),
            fix="write it with `np.save(file, array)`, a plain array only",
        ) from problem
    return array


def check_columns(columns: dict[str, Array], where: str) -> None:
    """Refuse columns of different lengths.

    Raises:
        UsageError: E281 naming them.
    """
    sizes = {name: column.shape[0] if column.ndim else None for name, column in columns.items()}
    if len(set(sizes.values())) > 1 or None in sizes.values():
        raise UsageError(
            "E281",
            "the arrays do not share their leading axis",
            where=where,
            why=", ".join(f"{name} has {size or 'none'}" for name, size in sizes.items()),
            fix="let the first axis of every array count the samples",
        )


def read_npz(path: Path, reference: str) -> dict[str, Array]:
    """Return the arrays of a file by name, once all that it declares is believable.

    Raises:
        UsageError: E281 when it is damaged or holds Python objects, E282 when it is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if (total := sum(member.file_size for member in members)) > MOST:
                raise _too_large(total, reference)
            names = [member.filename.removesuffix(".npy") for member in members]
            if len(set(names)) < len(names):
                raise ValueError("a name stands twice in it")
            return {
                name: _member(archive, member) for name, member in zip(names, members, strict=True)
            }
    except _DAMAGE as problem:
        raise UsageError(
            "E281",
            "the file cannot be read as .npz",
            where=reference,
            why=str(problem),
            fix="write it with `np.savez(file, input=..., label=...)`, plain arrays only",
        ) from problem


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Read one array; its header must promise no more than its bytes can hold."""
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
    if dtype.kind not in "biufUS":
        raise ValueError(f"`{member.filename}` holds {dtype}, which is no plain type")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"`{member.filename}` promises more than it holds")
    with archive.open(member) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of the .npy format is not read")
    return shape, dtype


def _too_large(total: int, reference: str) -> UsageError:
    return UsageError(
        "E282",
        f"the file unpacks to {total / 1e9:.1f} GB",
        where=reference,
        why=f"at most {MOST / 1e9:.0f} GB are read",
        fix="keep fewer samples, or name a generator function as `data.py:function`",
    )
