"""Walks the container and holds every byte of it against the only spelling allowed.

Nothing is parsed but fixed-width numbers, each held against the file's own size; contents are
hashed as they stream by, so memory stays bounded whatever a file claims.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgepack.artifact import format as layout
from edgepack.artifact.format import Entry
from edgepack.artifact.refusal import refused

PIECE = 1 << 20
"""Bytes of contents that are held at once."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file, and nothing that could block or answer differently twice.

    Raises:
        ArtifactError: E600 when it is not there, not readable or not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        why = problem.strerror or ""
        fix = "check the path"
        raise refused("E600", f"cannot open {path.name}", why=why, fix=fix) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise refused("E600", f"{path.name} is not a regular file", fix="check the path")
    with os.fdopen(descriptor, "rb") as stream:
        yield stream, status.st_size


def scan(stream: BinaryIO, size: int) -> tuple[Entry, ...]:
    """Return the entries of an artifact of `size` bytes, from the start of `stream`.

    Raises:
        ArtifactError: E601 to E606, for the first fault found.
    """
    if size > layout.LARGEST:
        raise refused("E601", "the file is larger than an artifact can be", why=f"{size} bytes")
    entries: list[Entry] = []
    at = 0
    while not (header := exactly(stream, layout.LOCAL.size)).startswith(layout.CENTRAL_MARK):
        entries.append(_entry(stream, header, at, size))
        at = entries[-1].offset + entries[-1].size
        _admit(entries)
    if [entry.name for entry in entries[:2]] != [layout.MANIFEST, layout.DIGEST]:
        raise refused("E604", "an artifact begins with its manifest and the manifest's digest")
    if found := layout.clash(entry.name for entry in entries):
        raise refused("E604", "two names differ only by case, or one is the other's folder",
                      where=found)  # fmt: skip
    rest = layout.directory(entries)
    if size - at != len(rest):
        raise refused("E606", "the file is cut short, or something was added to it")
    if header + exactly(stream, len(rest) - len(header)) != rest:
        raise refused("E603", "the directory at the end is not what its entries require")
    return tuple(entries)


def exactly(stream: BinaryIO, size: int) -> bytes:
    """Read so many bytes or refuse the file."""
    data = stream.read(size)
    if len(data) != size:
        raise refused("E606", "the file ends too early")
    return data


def _entry(stream: BinaryIO, header: bytes, at: int, size: int) -> Entry:
    """Check one entry that begins at `at`; the stream stands behind its fixed-width header."""
    mark, *_, crc, _, length, name_length, _ = layout.LOCAL.unpack(header)
    if mark != layout.LOCAL_MARK:
        raise refused("E602" if at == 0 else "E603", "this is not an artifact, or it has a gap")
    raw = exactly(stream, min(name_length, layout.LONGEST_NAME + 1))
    name = raw.decode("ascii", errors="replace")
    if not layout.is_name(name):
        raise refused("E604", "a name that an artifact may not hold", where=ascii(name))
    if header + raw != layout.local_header(name, length, crc):
        raise refused("E603", "an entry's header has another spelling than the one allowed",
                      where=name)  # fmt: skip
    offset = at + len(header) + len(raw)
    if length > min(size - offset, layout.CAPS.get(name, size)):
        raise refused("E601", "an entry claims more bytes than it can have", where=name)
    sha256, checksum, left = hashlib.sha256(), 0, length
    while left:
        piece = exactly(stream, min(left, PIECE))
        sha256.update(piece)
        checksum = zlib.crc32(piece, checksum)
        left -= len(piece)
    if checksum != crc:
        raise refused("E605", "contents are damaged", where=name)
    return Entry(name, offset, length, crc, sha256.hexdigest())


def _admit(entries: list[Entry]) -> None:
    """Refuse the last entry where it comes too late, twice or out of order."""
    if len(entries) > layout.MOST_FILES + len(layout.LEADING):
        raise refused("E601", "the file holds more entries than an artifact may")
    if len(entries) > 1 and layout.order(entries[-2].name) >= layout.order(entries[-1].name):
        raise refused("E604", "an entry stands twice or out of order", where=entries[-1].name)
