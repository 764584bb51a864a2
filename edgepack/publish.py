"""How anything appears on disk: staged beside its place, synced, then renamed into it.

A reader sees the old content or the new, never a part. A crash leaves at most a hidden
``.NAME.*.part`` beside it, which the next publication of the same name removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepack.errors import HostError


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
                old = stage.with_suffix(".old")
                path.replace(old)
                stage.replace(path)
                shutil.rmtree(old)
            else:
                stage.replace(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def check_folder(path: Path) -> None:
    """Make sure now that a folder can be written later; it is made where it is missing.

    Raises:
        HostError: E320 when it cannot be made or written.
    """
    with _named_failure(path / "report.json"):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass


@contextmanager
def locked(parent: Path, name: str) -> Iterator[None]:
    """Hold the lock of one name in a folder; another process that wants it waits.

    The locks live in the user's temporary folder, so that no lock file lies beside the output.
    """
    identity = parent.stat()
    locks = Path(tempfile.gettempdir()) / f"edgepack-locks-{os.getuid()}"
    locks.mkdir(mode=0o700, exist_ok=True)
    with (locks / f"{identity.st_dev}-{identity.st_ino}-{name}").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _stage(path: Path) -> Path:
    """Name the stage of `path` and remove what a crash may have left of earlier ones."""
    for stale in path.parent.glob(f".{path.name}.*"):
        if stale.suffix in {".part", ".old"}:
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    return path.parent / f".{path.name}.{os.getpid()}.part"


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
            errno.ENOTDIR,
        }:  # fmt: skip
            raise
        raise HostError(
            "E320",
            f"cannot write {path.name}",
            where=str(path.parent),
            why=problem.strerror or str(problem),
            fix="choose a folder that exists, is writable and has room",
        ) from problem
