"""How anything appears on disk: staged beside its place, synced, then renamed into it.

A reader sees the old content or the new, never a part. A crash leaves at most a hidden
``.NAME.*.part`` beside it, which the next publication of the same name removes, and a temporary
folder, which the next command removes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from edgepack.errors import HostError

PATIENCE = 2.0
"""Seconds after which a wait for another process is told."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_shared: Path | None = None


def cache_root() -> Path:
    """Return the user's cache folder: ``EDGEPACK_CACHE``, or edgepack's under the XDG one."""
    if chosen := os.environ.get("EDGEPACK_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgepack"


@contextmanager
def file(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a path to write; on success it replaces `path`, on failure it is gone.

    Raises:
        HostError: E320 when the folder is missing, read-only or full.
    """
    with _named_failure(path), locked(path.parent, path.name):
        stage = _stage(path)
        try:
            yield stage
            stage.chmod(mode)
            _sync(stage)
            stage.replace(path)
            _sync(path.parent)
        finally:
            stage.unlink(missing_ok=True)


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill; on success it becomes `path`, which is replaced if it is there.

    The two change places in one step, so that `path` is never absent. One who reads several files
    of it may still find some of the old folder and some of the new.

    Raises:
        HostError: E320 when the parent folder is missing, read-only or full.
    """
    with _named_failure(path), locked(path.parent, path.name):
        stage = _stage(path)
        try:
            stage.mkdir(mode=0o700)
            yield stage
            for item in sorted(stage.rglob("*"), reverse=True):
                if not item.is_symlink():
                    _sync(item)
            _sync(stage)
            if path.exists():
                _exchange(stage, path)
            else:
                stage.replace(path)
            _sync(path.parent)
        finally:
            remove(stage)


def check_folder(path: Path) -> None:
    """Make sure now that a folder can be written later; it is made where it is missing.

    What killed processes left half-written in it goes.

    Raises:
        HostError: E320 when it cannot be made or written.
    """
    with _named_failure(path / "report.json"):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"edgepack")
        sweep(path)


def check_room(folders: Iterable[Path], needed: int) -> None:
    """Make sure that the file systems of folders that exist have `needed` bytes free.

    Raises:
        HostError: E324 when one has less.
    """
    for path in folders:
        if (free := shutil.disk_usage(path).free) < needed:
            raise HostError(
                "E324",
                f"this build needs about {needed / 1e9:.2g} GB of room",
                where=str(path),
                why=f"{free / 1e9:.2g} GB are free",
                fix="free some, with `edgepack cache prune` for one, or choose another folder",
            )


def remove(path: Path) -> None:
    """Remove a file, link or folder, as far as it is there and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def workspace() -> Iterator[Path]:
    """Let all temporary files of this process lie in one folder, which is removed in the end.

    A process that is killed cannot remove its own. It is locked while its process lives, so the
    next one knows it for dead, also where process numbers mean nothing (containers), and sweeps it.

    Raises:
        HostError: E323 when no temporary folder can be written.
    """
    global _shared
    outer = _shared = _temporary()
    # The locks stay where every process finds them.
    with locked(outer, "workspace"):
        for old in outer.glob("edgepack-work-*"):
            with suppress(FileNotFoundError):  # its own process may be removing it
                if not old.is_symlink() and old.stat().st_uid == os.getuid() and not _alive(old):
                    remove(old)
        place = Path(tempfile.mkdtemp(prefix="edgepack-work-"))
        life = os.open(place, os.O_RDONLY)
        fcntl.flock(life, fcntl.LOCK_EX)
    before, tempfile.tempdir = tempfile.tempdir, str(place)
    try:
        yield place
    finally:
        tempfile.tempdir, _shared = before, None
        remove(place)
        os.close(life)


@contextmanager
def locked(parent: Path, name: str) -> Iterator[None]:
    """Hold the lock of one name in a folder; another process that wants it waits, with a word.

    The locks live in the user's temporary folder, so that no lock file lies beside the output. A
    lock ends with its process, however that ends.

    Raises:
        HostError: E323 when locks cannot be written.
    """
    with _lock(parent, name) as stream:
        wait(stream.fileno(), fcntl.LOCK_EX, f"for {name}")
        yield


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder; what is being written stays."""
    for part in folder.glob(".*.part"):
        name, _, process = part.name[1:].removesuffix(".part").rpartition(".")
        # Another process may finish or sweep it meanwhile.
        with suppress(FileNotFoundError):
            if name and process.isdigit() and part.lstat().st_uid == os.getuid():
                with _lock(folder, name) as stream, suppress(BlockingIOError):
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(part)


def _lock(parent: Path, name: str) -> IO[str]:
    identity = parent.stat()
    locks = _temporary() / f"edgepack-locks-{os.getuid()}"
    try:
        locks.mkdir(mode=0o700, exist_ok=True)
        if locks.is_symlink() or locks.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, f"{locks.name} belongs to another user")
        return (locks / f"{identity.st_dev}-{identity.st_ino}-{name}").open("w")
    except OSError as problem:
        raise _no_temporary(locks.parent, problem) from problem


def wait(descriptor: int, kind: int, what: str) -> None:
    """Take a lock; where another process holds it for long, say so and wait on."""
    told = time.monotonic() + PATIENCE
    while time.monotonic() < told:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return
    sys.stderr.write(f"waiting for another edgepack ({what}) ...\n")
    fcntl.flock(descriptor, kind)


def _temporary() -> Path:
    if _shared is not None:
        return _shared
    try:
        return Path(tempfile.gettempdir())
    except OSError as problem:
        raise _no_temporary(Path(os.environ.get("TMPDIR", "/tmp")), problem) from problem


def _no_temporary(path: Path, problem: OSError) -> HostError:
    return HostError(
        "E323",
        "no temporary file can be written",
        where=str(path),
        why=problem.strerror or str(problem),
        fix="free some room there, or set TMPDIR to a folder that is writable",
    )


def _alive(place: Path) -> bool:
    """Tell whether the process of a temporary folder still holds it."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _stage(path: Path) -> Path:
    """Name the stage of `path` and remove what a crash may have left of earlier ones."""
    for stale in path.parent.glob(f".{path.name}.*"):
        if stale.suffix in {".part", ".old"}:
            remove(stale)
    return path.parent / f".{path.name}.{os.getpid()}.part"


def _exchange(one: Path, other: Path) -> None:
    """Let two paths change places in one step, or in two where the file system knows no better."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    if rename and rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    old = one.with_suffix(".old")
    other.replace(old)
    one.replace(other)
    old.replace(one)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno not in {
            errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
            errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EFBIG, errno.EIO,
        }:  # fmt: skip
            raise
        if _shared is not None and path.is_relative_to(tempfile.gettempdir()):
            raise _no_temporary(path.parent, problem) from problem
        raise HostError(
            "E320",
            f"cannot write {path.name}",
            where=str(path.parent),
            why=problem.strerror or str(problem),
            fix="choose a folder that exists, is writable and has room",
        ) from problem
