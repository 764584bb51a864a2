"""A job's folder on this machine and the process that works in it; what local and qemu share."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgepack.devices import DeviceFailure, Outcome

LAST_WORDS = 4000


class JobFolder:
    """A private folder that files are pushed into and pulled from."""

    def __init__(self) -> None:
        self._whole = tempfile.TemporaryDirectory(prefix="edgepack-device-")
        self.path = Path(self._whole.name)

    def push(self, files: Mapping[str, Path]) -> None:
        """Copy files in, under plain names; what an earlier job left is gone."""
        for old in self.path.iterdir():
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
        """Run a command in the folder with just this environment.

        Raises:
            DeviceFailure: with reason ``deadline`` after `seconds`.
        """
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=self.path,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceFailure("deadline", f"no end after {seconds:g} s") from None
        stderr = done.stderr[-LAST_WORDS:].decode(errors="replace")
        return Outcome(done.returncode, stderr)
