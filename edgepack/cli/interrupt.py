"""Ctrl-C, SIGTERM and SIGHUP end a command the same clean way; the status says which it was."""

from __future__ import annotations

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAUSE = 2.0
"""Seconds in which a second signal is the same wish, and must not break the cleaning up."""

_first: tuple[int, float] | None = None


def catch() -> None:
    """Turn each signal into a KeyboardInterrupt, but for those that nohup or a shell ignores."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def status(otherwise: int) -> int:
    """Return 128 and the signal's number where one came, whatever a library made of it."""
    return otherwise if _first is None else 128 + _first[0]


def _end(number: int, _frame: FrameType | None) -> None:
    global _first
    now = time.monotonic()
    if _first is not None and now - _first[1] < PAUSE:
        return
    _first = (number, now)
    raise KeyboardInterrupt
