"""What builds have stored on this machine: counted, checked and thrown away."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgepack import publish
from edgepack.cache import LOCK, flaw
from edgepack.types import Frozen

Kind = Literal["model", "graph", "artifact", "fact", "device", "system", "other"]


class Held(Frozen):
    """All of one kind: how many, how many bytes, and the days since the oldest was used."""

    kind: Kind
    entries: int
    bytes: int
    oldest_days: float


class Damaged(Frozen):
    """One entry that is not what its seal says."""

    key: str
    why: str
    removed: bool


class Pruned(Frozen):
    """What was thrown away, and the bytes that are left."""

    entries: int
    bytes: int
    left: int


@dataclass(frozen=True)
class _Entry:
    path: Path
    kind: Kind
    bytes: int
    used: float


def survey(root: Path) -> tuple[Held, ...]:
    """Count what a cache holds, by kind; the emulated systems and plugins are one kind."""
    found: dict[Kind, list[_Entry]] = {}
    systems = [path for name in ("sysroots", "plugins") for path in _in(root / name)]
    for entry in [*_entries(root), *(_entry(path, "system") for path in systems)]:
        found.setdefault(entry.kind, []).append(entry)
    now = time.time()
    return tuple(
        Held(
            kind=kind,
            entries=len(entries),
            bytes=sum(entry.bytes for entry in entries),
            oldest_days=round(max(0.0, now - min(entry.used for entry in entries)) / 86400, 2),
        )
        for kind, entries in sorted(found.items())
    )


def verify(root: Path, *, fix: bool) -> tuple[Damaged, ...]:
    """Hash every entry again and name those that are damaged; `fix` removes them."""
    wrong = [(path, why) for path in _places(root) if (why := flaw(path))]
    told = []
    for path, why in wrong:
        if fix:
            with publish.locked(path.parent, path.name):
                if os.path.lexists(path) and flaw(path):  # no build has made it again meanwhile
                    publish.remove(path)
        removed = not os.path.lexists(path)
        told.append(Damaged(key=path.name, why=why, removed=removed))
    return tuple(told)


def prune(root: Path, *, older: float | None, keep: int | None) -> Pruned:
    """Remove entries, those unused the longest first, once no build uses the cache.

    The emulated systems stay. What crashes left half-written goes in any case.

    Args:
        root: the cache.
        older: remove what was not used for this many seconds.
        keep: then remove until this many bytes are left.
    """
    with _alone(root):
        for place in _in(root / "objects"):
            for part in place.glob(".*") if place.is_dir() else ():
                publish.remove(part)
        entries = sorted(_entries(root), key=lambda entry: entry.used)
        left, gone = sum(entry.bytes for entry in entries), []
        now = time.time()
        for entry in entries:
            aged = older is not None and now - entry.used > older
            if aged or (keep is not None and left > keep):
                publish.remove(entry.path)
                gone.append(entry)
                left -= entry.bytes
    return Pruned(entries=len(gone), bytes=sum(entry.bytes for entry in gone), left=left)


def free(root: Path) -> int:
    """Return the bytes that are free where a cache lies or would lie."""
    while not root.exists():
        root = root.parent
    return shutil.disk_usage(root).free


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait until no build uses a cache, and let none begin."""
    if not root.is_dir():
        yield
        return
    descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        publish.wait(descriptor, fcntl.LOCK_EX, "a build uses the cache")
        yield
    finally:
        os.close(descriptor)


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _places(root: Path) -> Iterator[Path]:
    for place in _in(root / "objects"):
        if not place.is_dir():
            yield place
        else:
            yield from (path for path in _in(place) if not path.name.startswith("."))


def _entries(root: Path) -> Iterator[_Entry]:
    return (_entry(path, _kind(path)) for path in _places(root))


def _entry(path: Path, kind: Kind) -> _Entry:
    files = [p.lstat() for p in path.rglob("*")] if path.is_dir() else []
    own = path.lstat()
    return _Entry(path, kind, sum(state.st_size for state in files), own.st_mtime)


def _kind(path: Path) -> Kind:
    signs: dict[str, Kind] = {
        "fact.json": "fact", "artifact.edgepack": "artifact", "model.onnx": "graph",
        "step.json": "model",
        "device.json": "device",
    }  # fmt: skip
    return next((kind for name, kind in signs.items() if (path / name).exists()), "other")
