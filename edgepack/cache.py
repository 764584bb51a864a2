"""The cache: folders under content keys, private to the user, re-hashed when read.

    ROOT/objects/KK/KEY/...      the files of a value
    ROOT/objects/KK/KEY/seal.json  the key, and the SHA-256 of each of them

An entry that is not exactly what its seal says is removed and counts as absent, with a word. Of two
processes that store one key the first wins. Whoever uses the cache holds ROOT/lock together with
others; whoever prunes it holds it alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepack import publish
from edgepack.errors import HostError
from edgepack.types import canonical_json, file_digest

SEAL = "seal.json"
LOCK = "lock"


class Cache:
    """Folders by key.

    Args:
        root: made private (0700) where it does not exist.
        fresh: never answer from what an earlier command stored.
        warn: called with one sentence when a damaged entry is thrown away.

    Raises:
        HostError: E322 when the cache cannot be written.
    """

    def __init__(
        self, root: Path, *, fresh: bool = False, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self.root = root
        self._fresh = fresh
        self._warn = warn
        self._written: set[str] = set()
        with _named_failure(root):
            (root / "objects").mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)
            publish.check_folder(root / "objects")
            for place in (root / "objects").iterdir():
                publish.sweep(place)
            lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, lock)  # held as long as this object lives
        publish.wait(lock, fcntl.LOCK_SH, "it prunes the cache")

    def get(self, key: str) -> Path | None:
        """Return the folder stored under `key` if it is there and whole."""
        if self._fresh and key not in self._written:
            return None
        entry = self._place(key)
        if not os.path.lexists(entry):
            return None
        if key not in self._written and flaw(entry):
            self._heal(key)
            return None
        os.utime(entry)  # pruning goes by the last use
        self._written.add(key)  # checked once a command is enough
        return entry

    def drop(self, key: str, why: str) -> None:
        """Remove an entry that is whole but cannot be read, with a word."""
        self._warn(f"cache entry {key[:12]} is damaged ({why}); it was removed and is made again")
        self._written.discard(key)
        publish.remove(self._place(key))

    @contextmanager
    def put(self, key: str) -> Iterator[Path]:
        """Yield a folder to fill; on success it is sealed and stored under `key`.

        Raises:
            HostError: E322 when the cache cannot be written.
        """
        place = self._place(key)
        with _named_failure(self.root):
            if not place.parent.is_dir():
                publish.remove(place.parent)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with publish.folder(place) as stage:
                    yield stage
                    files = {str(p.relative_to(stage)): file_digest(p) for p in _files(stage)}
                    (stage / SEAL).write_bytes(canonical_json({"key": key, "files": files}))
                    if os.path.lexists(place) and not self._fresh and not flaw(place):
                        raise _Kept  # another process may read it: it stays as it is
                    if not place.is_dir():
                        publish.remove(place)
            except _Kept:
                pass
        self._written.add(key)

    def fact(self, key: str, compute: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
        """Return a JSON value and whether it came from the cache; compute and store it if not."""
        if entry := self.get(key):
            try:
                found = json.loads((entry / "fact.json").read_bytes())
            except (OSError, ValueError):
                found = None
            if isinstance(found, dict):
                return found, True
            self.drop(key, "it holds no fact")
        value = compute()
        with self.put(key) as stage:
            (stage / "fact.json").write_text(json.dumps(value))
        return value, False

    def _heal(self, key: str) -> None:
        """Remove a damaged entry, unless another process has just made it again."""
        entry = self._place(key)
        if not entry.parent.is_dir():
            return
        with publish.locked(entry.parent, entry.name):
            if os.path.lexists(entry) and (wrong := flaw(entry)):
                self.drop(key, wrong)

    def _place(self, key: str) -> Path:
        return self.root / "objects" / key[:2] / key


class _Kept(Exception):  # noqa: N818  no error: the entry that was there stays
    pass


def flaw(entry: Path) -> str:
    """Say what is wrong with an entry; nothing where it is what its seal says."""
    try:
        if not entry.is_dir() or entry.is_symlink():
            return "it is no folder"
        for path in (entry, *entry.rglob("*")):
            state = path.lstat()
            if not stat.S_ISDIR(state.st_mode) and not stat.S_ISREG(state.st_mode):
                return f"{path.name} is no plain file"
            if state.st_uid != os.getuid():
                return f"{path.name} belongs to another user"
        seal = json.loads((entry / SEAL).read_bytes())
        if not isinstance(seal, dict) or seal.get("key") != entry.name:
            return "it is another entry's"
        sealed = seal.get("files")
        if not isinstance(sealed, dict):
            return f"{SEAL} is no seal"
        found = {str(p.relative_to(entry)): p for p in _files(entry)}
        if odd := sorted(found.keys() ^ sealed.keys()):
            return f"{odd[0]} is {'missing' if odd[0] in sealed else 'foreign'}"
        changed = (name for name, path in found.items() if file_digest(path) != sealed[name])
        return f"{name} changed" if (name := next(changed, "")) else ""
    except (OSError, ValueError) as problem:
        return f"{SEAL} cannot be read: {type(problem).__name__}"


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / SEAL)


@contextmanager
def _named_failure(root: Path) -> Iterator[None]:
    """Name the cache where it, and not what is computed for it, cannot be written."""
    try:
        yield
    except (OSError, HostError) as problem:
        if isinstance(problem, HostError) and problem.code != "E320":
            raise
        why = problem.why if isinstance(problem, HostError) else problem.strerror or str(problem)
        raise HostError(
            "E322",
            "the cache cannot be written",
            where=str(root),
            why=why,
            fix="free some room (`edgepack cache prune`), or set EDGEPACK_CACHE to another folder",
        ) from problem
