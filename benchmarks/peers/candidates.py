"""Models that can be asked and timed, each in a process of its own.

What runs in one runtime and what does not are treated alike: every model answers over a pipe and
times itself, so that the rounds interleave, and its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.devices import agent
from peers.environment import Failed, last_line

SERVED = Path(__file__).parent / "served.py"
PATIENCE = 120.0
"""Seconds that one answer may take, loading included."""
PLAIN: dict[str, Any] = {
    "threads": 1,
    "optimization": "all",
    "providers": ["CPUExecutionProvider"],
    "entries": {},
}
"""The session settings of a model that ships none."""


@dataclass(frozen=True)
class Candidate:
    """A model that one of the peers made, or why there is none.

    Attributes:
        kind: what runs it: ort, openvino, executorch, litert.
        python: the command of the interpreter whose environment has that.
        path: what the interpreter imports from besides; empty for its own alone.
        session: settings of ONNX Runtime's session.
        seconds: that making it took.
        error: why it could not be made.
    """

    name: str
    kind: str = "ort"
    model: Path = Path()
    python: tuple[str, ...] = (sys.executable,)
    path: str = ""
    session: dict[str, Any] = field(default_factory=lambda: PLAIN)
    seconds: float = 0.0
    error: str = ""

    @property
    def size(self) -> int:
        """Bytes of the model and of what lies beside it."""
        if self.error:
            return 0
        beside = [self.model.with_suffix(".bin"), Path(f"{self.model}.data")]
        return sum(path.stat().st_size for path in (self.model, *beside) if path.exists())


class Asked:
    """A candidate that is loaded and answers."""

    def __init__(self, candidate: Candidate, threads: int) -> None:
        settings = {
            "agent": str(Path(agent.__file__).parent),
            "session": {**candidate.session, "threads": threads},
        }
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": str(threads)}
        if candidate.path:
            environment["PYTHONPATH"] = candidate.path
        command = [*candidate.python, str(SERVED), candidate.kind, str(candidate.model)]
        self._words = candidate.model.with_suffix(f".{threads}.log")
        with self._words.open("wb") as words:
            self._process = subprocess.Popen(
                [*command, json.dumps(settings)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words,
                text=True, bufsize=1, env=environment,
            )  # fmt: skip
        try:
            self._told()
        except Failed:
            self.close()
            raise

    def time(self, file: Path) -> tuple[int, int]:
        """Return nanoseconds of one run, of the processor and of the clock."""
        processor, clock = self._ask(f"time {file}").split()
        return int(processor), int(clock)

    def answer(self, file: Path) -> np.ndarray:
        """Return the first output."""
        to = file.with_suffix(".npy")
        self._ask(f"answer {file} {to}")
        return np.load(to)

    def memory(self) -> int:
        """Return the peak resident bytes so far."""
        return int(self._ask("memory"))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(last_line(self._words.read_text(errors="replace"))) from None
        return self._told()

    def _told(self) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(PATIENCE):
                raise Failed(f"no answer in {PATIENCE:g} s")
        line = self._process.stdout.readline().strip()
        if not line:
            raise Failed(last_line(self._words.read_text(errors="replace")))
        if line.startswith("error "):
            raise Failed(line.removeprefix("error ")[:160])
        return line
