"""The cache: folders under content keys, private to the user, re-hashed when read.

    ROOT/objects/KK/KEY/...      the files of a value
    ROOT/objects/KK/KEY/seal.json  the SHA-256 of each of them

An entry whose files do not match its seal is removed and counts as absent, with a word.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepack import publish
from edgepack.types import canonical_json, file_digest

SEAL = "seal.json"


class Cache:
    """Folders by key.

    Args:
        root: made private (0700) where it does not exist.
        fresh: never answer from what an earlier command stored.
        warn: called with one sentence when a damaged entry is thrown away.
    """

    def __init__(
        self, root: Path, *, fresh: bool = False, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self.root = root
        self._fresh = fresh
        self._warn = warn
        self._written: set[str] = set()
        (root / "objects").mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)

    def get(self, key: str) -> Path | None:
        """Return the folder stored under `key` if it is there and whole."""
        if self._fresh and key not in self._written:
            return None
        entry = self._place(key)
        if not entry.is_dir():
            return None
        if key not in self._written and not _whole(entry):
            self._warn(f"cache entry {key[:12]} is damaged; it was removed and is made again")
            shutil.rmtree(entry)
            return None
        self._written.add(key)  # checked once a command is enough
        return entry

    @contextmanager
    def put(self, key: str) -> Iterator[Path]:
        """Yield a folder to fill; on success it is sealed and stored under `key`."""
        place = self._place(key)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with publish.folder(place) as stage:
            yield stage
            seal = {str(p.relative_to(stage)): file_digest(p) for p in _files(stage)}
            (stage / SEAL).write_bytes(canonical_json(seal))
        self._written.add(key)

    def fact(self, key: str, compute: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
        """Return a JSON value and whether it came from the cache; compute and store it if not."""
        if entry := self.get(key):
            return json.loads((entry / "fact.json").read_bytes()), True
        value = compute()
        with self.put(key) as stage:
            (stage / "fact.json").write_text(json.dumps(value))
        return value, False

    def _place(self, key: str) -> Path:
        return self.root / "objects" / key[:2] / key


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SEAL)


def _whole(entry: Path) -> bool:
    try:
        seal = json.loads((entry / SEAL).read_bytes())
    except (OSError, ValueError):
        return False
    found = {str(p.relative_to(entry)): p for p in _files(entry)}
    return found.keys() == seal.keys() and all(file_digest(p) == seal[n] for n, p in found.items())
