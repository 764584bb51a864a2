"""Finds the samples in a folder, one file a sample, and their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgepack.data.text import records
from edgepack.errors import UsageError, did_you_mean
from edgepack.types import digest_of, file_digest

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm"})
SOUNDS = frozenset({".wav"})
ARRAYS = frozenset({".npy"})
KINDS = {"pictures": PICTURES, "sounds": SOUNDS, "arrays": ARRAYS}
UNREAD = frozenset(
    {".gif", ".tif", ".tiff", ".heic", ".avif", ".mp3", ".flac", ".ogg", ".m4a", ".opus", ".aac"}
)
"""Data that is not read: a folder that holds such files is refused, not read in part."""
LABEL_FILES = ("labels.csv", "labels.jsonl")


@dataclass(frozen=True)
class Folder:
    """A folder of samples; its files are listed, and none is opened.

    The label of a file is what `labels.csv` or `labels.jsonl` says (columns or keys `file` and
    `label`), else the name of the subfolder that it lies in, else there is none. Subfolders whose
    names are all whole numbers are those classes.

    Attributes:
        path: the folder.
        reference: the folder as the user wrote it.
    """

    path: Path
    reference: str

    @cached_property
    def kind(self) -> str:
        """One of `KINDS`.

        Raises:
            UsageError: E290 for a folder that holds nothing, several kinds, or what is not read.
        """
        suffixes = {Path(name).suffix.lower(): name for name in reversed(self._all)}
        if unread := sorted(suffixes.keys() & UNREAD):
            raise self._refused(f"{suffixes[unread[0]]} is of a kind that is not read")
        kinds = [kind for kind, known in KINDS.items() if suffixes.keys() & known]
        if len(kinds) != 1:
            raise self._refused(f"it holds {' and '.join(kinds)}" if kinds else "it holds none")
        return kinds[0]

    @cached_property
    def names(self) -> list[str]:
        """Paths of the samples within the folder, sorted, with `/`."""
        return [n for n in self._all if Path(n).suffix.lower() in KINDS[self.kind]]

    @property
    def digest(self) -> str:
        """SHA-256 over the names and bytes of all samples, and over the labels."""
        files = [*self.names, *(name for name in LABEL_FILES if (self.path / name).is_file())]
        return digest_of("folder", {name: file_digest(self.path / name) for name in files})

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[Path, Any]]:
        """Yield each file with its label."""
        written = self._written
        for name in self.names:
            yield self.path / name, written[name] if written is not None else self._class(name)

    @cached_property
    def _all(self) -> list[str]:
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return sorted(p.as_posix() for p in found if not any(q.startswith(".") for q in p.parts))

    @cached_property
    def _written(self) -> dict[str, Any] | None:
        """Labels by file, as a file of labels has them.

        Raises:
            UsageError: E291 where it does not name every sample, and nothing else, once.
        """
        files = [self.path / name for name in LABEL_FILES if (self.path / name).is_file()]
        if not files:
            return None
        where = f"{self.reference}/{files[0].name}"
        if len(files) > 1:
            raise _labels(where, f"{files[1].name} lies beside it", "keep one of them")
        found: dict[str, Any] = {}
        known = set(self.names)
        for record in records(files[0], where, lists=True):
            name = record.get("file")
            if not isinstance(name, str) or "label" not in record:
                fix = "write `file` and `label` in each"
                raise _labels(where, f"entry {len(found) + 1} has not both of them", fix)
            if name not in known or name in found:
                why = "stands in it twice" if name in found else "is not in the folder"
                raise _labels(where, f"`{name}` {why}", did_you_mean(name, known))
            found[name] = record["label"]
        if lost := [name for name in self.names if name not in found]:
            why = f"{len(lost)} files have no label, the first is `{lost[0]}`"
            raise _labels(where, why, "label them, or take them out of the folder")
        return found

    @cached_property
    def _numbered(self) -> bool:
        """Whether classes are written as numbers."""
        return all(n.partition("/")[0].isdecimal() for n in self.names if "/" in n)

    def _class(self, name: str) -> Any:
        top, inner, _ = name.partition("/")
        if bool(inner) != ("/" in self.names[0]):
            raise self._refused("some files lie in subfolders, which name classes, and some do not")
        if not inner:
            return None
        return int(top) if self._numbered else top

    def _refused(self, why: str) -> UsageError:
        return UsageError(
            "E290",
            "the folder is no data that can be read",
            where=self.reference,
            why=why,
            fix="keep one kind in it: pictures (png, jpg, bmp, webp, ppm), .wav, or .npy; "
            "a subfolder for each class, or none",
        )


def _labels(where: str, why: str, fix: str) -> UsageError:
    return UsageError("E291", "the labels do not fit the folder", where=where, why=why, fix=fix)
