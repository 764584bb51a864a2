"""A job's folder on this machine and the process that works in it; what local and qemu share."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from edgepack.child import tied
from edgepack.devices import DeviceFailure, Outcome

LAST_WORDS = 4000
LIMITS = {
    resource.RLIMIT_AS: 16 << 30,
    resource.RLIMIT_FSIZE: 1 << 31,
    resource.RLIMIT_CORE: 0,
}
"""Bytes that the agent may address, write into one file, and leave as a core dump."""


class JobFolder:
    """A private folder that files are pushed into and pulled from."""

    def __init__(self) -> None:
        self._whole = tempfile.TemporaryDirectory(prefix="edgepack-device-")
        self.path = Path(self._whole.name)

    def push(self, files: Mapping[str, Path]) -> None:
        """Copy files in, under plain names; what an earlier job left is gone."""
        for old in self.path.iterdir():
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink()
        for name, source in files.items():
            shutil.copyfile(source, self.path / name)

    def pull(self, name: str, to: Path) -> None:
        """Copy one file out."""
        source = self.path / name
        if source.is_symlink() or not source.is_file():
            raise DeviceFailure("error", f"it left no {name}")
        shutil.copyfile(source, to)

    def close(self) -> None:
        """Remove the folder."""
        self._whole.cleanup()

    def run(
        self, command: Sequence[str | Path], environment: Mapping[str, str], seconds: float
    ) -> Outcome:
        """Run a command in the folder with just this environment, within `LIMITS`.

        Raises:
            DeviceFailure: with reason ``deadline`` after `seconds`.
        """
        with tempfile.TemporaryFile() as words:
            status = self._status(command, environment, seconds, words)
            words.seek(max(0, words.seek(0, 2) - LAST_WORDS))
            return Outcome(status, words.read().decode(errors="replace"))

    def _status(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        seconds: float,
        words: BinaryIO,
    ) -> int:
        with subprocess.Popen(
            tied(command),
            cwd=self.path,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
        ) as process:
            try:
                for kind, most in LIMITS.items():
                    resource.prlimit(process.pid, kind, (most, most))
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise DeviceFailure("deadline", f"no end after {seconds:g} s") from None
            finally:
                process.kill()
