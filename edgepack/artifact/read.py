"""The Artifact value: a checked file, and what is inside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgepack.artifact.check import check
from edgepack.artifact.format import DATA, MODEL, Entry
from edgepack.artifact.manifest import Manifest, Tensor
from edgepack.artifact.refusal import refused
from edgepack.artifact.scan import PIECE, opened
from edgepack.errors import did_you_mean

if TYPE_CHECKING:
    from edgepack.types import Array


@dataclass(frozen=True)
class Artifact:
    """One artifact on disk that was checked from its first byte to its last.

    Attributes:
        path: the file.
        manifest: what it says of itself.
        digest: SHA-256 of the manifest's bytes, which names the artifact.
        size: bytes of the file.
        entries: where each file lies within it.
    """

    path: Path
    manifest: Manifest
    digest: str
    size: int = field(repr=False)
    entries: tuple[Entry, ...] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Check a file and return it as an artifact.

        Raises:
            ArtifactError: E600 to E620, for the first fault found.
        """
        with opened(path) as (stream, size):
            checked = check(stream, size)
        return cls(path, checked.manifest, checked.digest, size, checked.entries)

    @property
    def model_size(self) -> int:
        """Bytes of the model; the rest is what proves it and what a reader needs."""
        return sum(f.size for f in self.manifest.files if f.name in {MODEL, DATA})

    def read(self, name: str) -> bytes:
        """Return the contents of one file inside.

        Raises:
            ArtifactError: E622 when there is no such file, E620 when it changed since `open`.
        """
        pieces: list[bytes] = []
        self._stream(name, pieces.append)
        return b"".join(pieces)

    def extract(self, name: str, to: Path) -> None:
        """Write one file inside to a path where nothing is yet; links are not followed.

        Raises:
            ArtifactError: E621 when something is there, E622 when there is no such file inside,
                E620 when it changed since `open`; nothing is left behind then.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._entry(name)
        try:
            descriptor = os.open(to, flags, 0o644)
        except FileExistsError:
            raise refused(
                "E621", f"{to.name} is already there", fix="choose another place"
            ) from None
        try:
            with os.fdopen(descriptor, "wb") as stream:
                self._stream(name, stream.write)
        except BaseException:
            to.unlink()
            raise

    def extract_model(self, folder: Path) -> Path:
        """Write the model, and the weights beside it where they are, into a folder.

        Raises:
            ArtifactError: as `extract`.

        Returns:
            The ``.onnx`` file, for a session to open.
        """
        for name in (MODEL, DATA):
            if name in self._by_name:
                self.extract(name, folder / name)
        return folder / MODEL

    def vectors(self) -> list[tuple[dict[str, Array], dict[str, Array]]]:
        """Return the golden vectors as pairs of named inputs and named outputs."""
        pairs = []
        for index, vector in enumerate(self.manifest.golden.vectors):
            arrays = [self._array(name, tensor) for name, tensor in vector.files(index).items()]
            named = [t.name for t in (*vector.inputs, *vector.outputs)]
            split = len(vector.inputs)
            inputs = dict(zip(named[:split], arrays[:split], strict=True))
            pairs.append((inputs, dict(zip(named[split:], arrays[split:], strict=True))))
        return pairs

    def facts(self) -> dict[str, Any]:
        """Return what a report says of this artifact."""
        return {
            "bytes": self.size,
            "digest": self.digest,
            "files": {record.name: record.size for record in self.manifest.files},
            "vectors": len(self.manifest.golden.vectors),
        }

    def _array(self, name: str, tensor: Tensor) -> Array:
        import numpy as np

        dtype = np.dtype(tensor.dtype)
        raw = np.frombuffer(self.read(name), dtype.newbyteorder("<"))
        return raw.reshape(tensor.shape).astype(dtype)

    def _entry(self, name: str) -> Entry:
        if name not in self._by_name:
            fix = did_you_mean(name, self._by_name)
            raise refused("E622", "the artifact holds no such file", where=ascii(name), fix=fix)
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.entries}

    def _stream(self, name: str, take: Callable[[bytes], object]) -> None:
        """Hand on an entry's contents, and raise where they are not what was checked."""
        entry = self._entry(name)
        sha256, left = hashlib.sha256(), entry.size
        with opened(self.path) as (stream, _):
            stream.seek(entry.offset)
            while left and (piece := stream.read(min(left, PIECE))):
                sha256.update(piece)
                take(piece)
                left -= len(piece)
        if sha256.hexdigest() != entry.sha256:
            raise refused("E620", "the file changed since it was checked", where=name)
