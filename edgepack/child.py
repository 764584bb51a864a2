"""Runs what is not trusted, or may crash or hang, in a child process with limits.

Two ways in: `call` runs one function of edgepack and returns its JSON answer; `Pipe` keeps a
process that answers framed messages (a JSON line, then raw tensors), such as the agent.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}
"""Environment of every child: no telemetry, no network, no randomness of hashing."""


HEADER = 16 << 20
"""Bytes of a header at most: a line that does not end is no answer."""

_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("its parent is gone")
with open("/proc/self/environ", "rb") as given:
    pairs = [pair.split(b"=", 1) for pair in given.read().split(b"\\0") if b"=" in pair]
os.execve(sys.argv[2], sys.argv[2:], dict(pairs))
"""


def tied(command: Sequence[str | Path]) -> list[str]:
    """Return a command that also ends when this process is killed, busy or not.

    A small program asks the kernel for that (PR_SET_PDEATHSIG) and then becomes the command, with
    the environment as given. A `preexec_fn` would do without it, but may hang where torch's or ONNX
    Runtime's threads hold a lock.
    """
    start = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid())]
    return [*start, *(str(part) for part in command)]


@cache
def _starter(_process: int) -> ThreadPoolExecutor:
    """Return the thread that starts children: they end with it, and it lives as long as we do."""
    return ThreadPoolExecutor(1, thread_name_prefix="edgepack-start")


@dataclass(frozen=True)
class Limits:
    """Seconds of wall clock for one answer and bytes of address space."""

    seconds: float = 600.0
    memory: int = 16 << 30


class ChildError(Exception):
    """A child did not answer.

    Attributes:
        reason: ``crashed``, ``deadline``, ``memory`` or ``raised``.
        detail: the last lines that it wrote, the signal's name, or the exception it raised.
        status: its exit status; negative is a signal.
    """

    def __init__(self, reason: str, detail: str, status: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.status = status


class Pipe:
    """A child that answers framed messages on its standard input and output.

    Args:
        command: program and arguments.
        limits: `seconds` is the deadline of each answer.
        env: added to this process's environment after `QUIET`.
        cwd: the child's working folder.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        limits: Limits,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._limits = limits
        self._deadline = 0.0
        self._pending = bytearray()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the pipe
        self._process = (
            _starter(os.getpid())
            .submit(
                subprocess.Popen,
                tied(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                env={**os.environ, **QUIET, **(env or {})},
                cwd=cwd,
            )
            .result()
        )
        assert self._process.stdin is not None
        # A blocking write would outlast the deadline once the pipe is full.
        os.set_blocking(self._process.stdin.fileno(), False)
        resource.prlimit(self._process.pid, resource.RLIMIT_AS, (limits.memory, limits.memory))
        resource.prlimit(self._process.pid, resource.RLIMIT_CORE, (0, 0))

    def ask(self, header: Mapping[str, Any], payload: Sequence[bytes | memoryview] = ()) -> Any:
        """Send a header and raw bytes; return the answer's header.

        Raises:
            ChildError: when the child dies or misses its deadline.
        """
        self._deadline = time.monotonic() + self._limits.seconds
        try:
            for piece in (json.dumps(header).encode() + b"\n", *payload):
                self._send(memoryview(piece).cast("B"))
        except BrokenPipeError:
            raise self._died() from None
        while (end := self._pending.find(b"\n")) < 0:
            if len(self._pending) > HEADER:
                raise self._nonsense("a line without an end")
            self._receive()
        line = self.take(end + 1)
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise self._nonsense(repr(line[:80])) from None

    def take(self, size: int) -> bytes:
        """Read `size` raw bytes that follow the header answered last.

        Raises:
            ChildError: when the child dies, misses its deadline, or names no size that can be.
        """
        if not isinstance(size, int) or not 0 <= size <= self._limits.memory:
            raise self._nonsense(f"a frame of {size!r} bytes")
        while len(self._pending) < size:
            self._receive()
        piece = bytes(self._pending[:size])
        del self._pending[:size]
        return piece

    def _send(self, piece: memoryview) -> None:
        assert self._process.stdin is not None
        while piece:
            self._wait([], [self._process.stdin])
            piece = piece[self._process.stdin.write(piece[:65536]) or 0 :]

    def _receive(self) -> None:
        assert self._process.stdout is not None
        self._wait([self._process.stdout], [])
        piece = self._process.stdout.read(1 << 20)
        if not piece:
            raise self._died()
        self._pending += piece

    def _wait(self, readable: list[IO[bytes]], writable: list[IO[bytes]]) -> None:
        left = max(0.0, self._deadline - time.monotonic())
        if not any(select.select(readable, writable, [], left)):
            self._process.kill()
            raise ChildError("deadline", f"no answer within {self._limits.seconds:g} s")

    def _nonsense(self, what: str) -> ChildError:
        """End a child that does not keep to the protocol."""
        self._process.kill()
        return ChildError("crashed", f"it answered {what} {self._tail()}".strip())

    def _died(self) -> ChildError:
        try:
            status = self._process.wait(max(1.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:  # it closed its output and lives on
            return self._nonsense("no more")
        return _failure(status, self._tail())

    def _tail(self) -> str:
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 4000))
        return self._stderr.read().decode(errors="replace").strip()

    def close(self) -> None:
        """End the child and wait for it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:
                pass
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _failure(status: int, tail: str) -> ChildError:
    """Name what a child's exit status and last words mean."""
    if "MemoryError" in tail or "bad_alloc" in tail:
        return ChildError("memory", tail, status)
    if status < 0:
        known = -status in signal.valid_signals()
        name = signal.Signals(-status).name if known else f"signal {-status}"
        return ChildError("crashed", f"{name} {tail}".strip(), status)
    return ChildError("crashed", tail or f"exit status {status}", status)


def call(function: str, arguments: Mapping[str, Any], limits: Limits | None = None) -> Any:
    """Run ``package.module:function`` with JSON arguments in a child and return its JSON answer.

    Arrays and files travel through paths among the arguments.

    Raises:
        ChildError: `raised` with the exception's text, or how the child died.
    """
    command = [sys.executable, "-P", "-m", "edgepack.child", function]
    with Pipe(command, limits or Limits()) as pipe:
        answer = pipe.ask(arguments)
    if "raised" in answer:
        raise ChildError("raised", answer["raised"])
    return answer["value"]


def _serve(function: str) -> None:
    """Be the child of `call`: one message in, one out; stray prints go to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, _, name = function.partition(":")
    arguments = json.loads(sys.stdin.buffer.readline())
    try:
        answer = {"value": getattr(importlib.import_module(module), name)(**arguments)}
    except MemoryError:
        raise
    except Exception as problem:  # noqa: BLE001  whatever was raised is the answer
        answer = {"raised": f"{type(problem).__name__}: {problem}"}
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
