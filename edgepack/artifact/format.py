"""The bytes of the container: a zip file of which only one spelling is allowed.

Entries are stored, in a fixed order, back to back, then the central directory, then the end
record. Every byte besides the contents follows from the names and contents; `docs/artifact.md` is
the specification.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MANIFEST, DIGEST, SIGNATURE = "manifest.json", "manifest.sha256", "manifest.sig"
MODEL, DATA, ORT_MODEL = "model.onnx", "model.onnx.data", "model.ort"
CARD, SAMPLE = "README.md", "sample.py"
LEADING = (MANIFEST, DIGEST, SIGNATURE)
"""The entries that are not listed in the manifest, in their order."""

LARGEST = 2**32 - 2
"""Bytes of a whole file, so that no zip64 record is ever needed."""
MOST_FILES = 10_000
LONGEST_NAME = 200
CAPS = {MANIFEST: 4 << 20, DIGEST: 80, SIGNATURE: 64 << 10}
"""Bytes of the entries that are read into memory before they are known to be honest."""

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
LOCAL_MARK, CENTRAL_MARK, END_MARK = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_NEEDED = 10  # zip 1.0: stored files
_MADE_BY = 3 << 8 | _NEEDED  # Unix, for the attributes below
_REGULAR = 0o100644 << 16
_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01 00:00, the first that zip can say

_SEGMENT = (
    r"(?!(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[./]|\Z))"  # devices on Windows
    r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?"
)
_NAME = re.compile(
    r"manifest\.(?:json|sha256|sig)|model\.(?:onnx|onnx\.data|ort)|README\.md|sample\.py"
    r"|golden/[0-7]/(?:input|output)\.(?:0|[1-9][0-9]{0,2})\.bin"
    rf"|assets(?:/{_SEGMENT}){{1,5}}"
)


@dataclass(frozen=True)
class Entry:
    """One file inside: where its contents begin, their size, CRC-32 and SHA-256."""

    name: str
    offset: int
    size: int
    crc: int
    sha256: str


def is_name(name: str) -> bool:
    """Return whether the grammar knows a name."""
    return len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None


def order(name: str) -> tuple[int, str]:
    """Return the sort key of entries: the manifest's own three, then the rest by name."""
    return (LEADING.index(name), "") if name in LEADING else (len(LEADING), name)


def clash(names: Iterable[str]) -> str | None:
    """Return a name that some file system would confuse with another, by case or as a folder."""
    taken: set[str] = set()
    folders: set[str] = set()
    for name in names:
        low = name.lower()
        parts = low.split("/")
        parents = {"/".join(parts[:end]) for end in range(1, len(parts))}
        if low in taken or low in folders or parents & taken:
            return name
        taken.add(low)
        folders |= parents
    return None


def digest_line(sha256: str) -> bytes:
    """Return the contents of `manifest.sha256`, which ``sha256sum -c`` understands."""
    return f"{sha256}  {MANIFEST}\n".encode()


def local_header(name: str, size: int, crc: int) -> bytes:
    """Return what stands before the contents of one entry."""
    fields = (_NEEDED, 0, 0, _TIME, _DATE, crc, size, size, len(name), 0)
    return LOCAL.pack(LOCAL_MARK, *fields) + name.encode()


def directory(entries: Sequence[Entry]) -> bytes:
    """Return what stands after the last entry: the central directory and the end record."""
    records = b"".join(_record(entry) for entry in entries)
    last = entries[-1]
    count, start = len(entries), last.offset + last.size
    return records + END.pack(END_MARK, 0, 0, count, count, len(records), start, 0)


def _record(entry: Entry) -> bytes:
    name = entry.name.encode()
    start = entry.offset - LOCAL.size - len(name)
    fields = (_MADE_BY, _NEEDED, 0, 0, _TIME, _DATE, entry.crc, entry.size, entry.size)
    return CENTRAL.pack(CENTRAL_MARK, *fields, len(name), 0, 0, 0, 0, _REGULAR, start) + name
