"""Every deliberate failure of edgepack, drawn as a tree.

EdgepackError
├── UsageError         2  the command line or the recipe asks for something that is not there
├── HostError          3  a tool, a device or a package that is needed is missing
├── ModelError         4  the model cannot be supported, or misbehaves
├── MeasurementError   5  a measurement that cannot be trusted
└── ArtifactError      6  an artifact that is damaged or not what it says

A class is an exit status; a code (``E201``) is one cause. The first digit of a code is the status.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class EdgepackError(Exception):
    """A failure with a code, a place, a cause and a fix.

    Attributes:
        code: ``E`` and three digits, the first being the exit status.
        what: one sentence that says what failed.
        where: the file and line, node, key or device at fault; may be empty.
        why: the cause, where it is not the sentence itself; may be empty.
        fix: what the reader can do now.
    """

    status: ClassVar[int] = 70

    def __init__(self, code: str, what: str, *, fix: str, where: str = "", why: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        lines = [f"error[{self.code}] {self.what}"]
        lines += [f"  where: {self.where}"] if self.where else []
        lines += [f"  why: {self.why}"] if self.why else []
        return "\n".join([*lines, f"  fix: {self.fix}"])


class UsageError(EdgepackError):
    """The command line, recipe or target is wrong (exit status 2)."""

    status = 2


class HostError(EdgepackError):
    """Something this machine lacks: a tool, a package, a device, room on disk (exit status 3)."""

    status = 3


class ModelError(EdgepackError):
    """The model is refused or misbehaves (exit status 4)."""

    status = 4


class MeasurementError(EdgepackError):
    """A measurement that cannot be trusted: too noisy, too few samples (exit status 5)."""

    status = 5


class ArtifactError(EdgepackError):
    """An artifact is damaged, forged or from a newer format (exit status 6)."""

    status = 6


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence naming the closest known word, or all of them when none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(names)}"
