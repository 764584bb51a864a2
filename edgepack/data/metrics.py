"""What scores a model's answers, in points: 100 is perfect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgepack.data.function import UserFunction
from edgepack.data.reference import FUNCTION
from edgepack.data.tallies import Accuracy, Cosine, Custom, Spearman, Tally
from edgepack.errors import UsageError, did_you_mean
from edgepack.types import digest_of
from edgepack.usercode import code_digest


@dataclass(frozen=True)
class Metric:
    """A way to score a model.

    Attributes:
        name: as the user wrote it.
        digest: SHA-256 that changes whenever the score may.
        start: begins a new tally.
        compares: it scores against the model as it came in, and needs no labels.
    """

    name: str
    digest: str
    start: Callable[[], Tally]
    compares: bool = False


BUILT_IN: dict[str, Callable[[], Tally]] = {
    "accuracy": Accuracy,
    "cosine": Cosine,
    "spearman": Spearman,
}
VERSION = 1
"""Raised when a metric of ours would score the same answers differently."""


def resolve(name: str, folder: Path) -> Metric:
    """Return a metric by its name, or a user's as ``data.py:metric``; no code runs yet.

    Raises:
        UsageError: E287 for a name that is no metric, E272 or E273 as `code.find`.
    """
    if name in BUILT_IN:
        digest = digest_of("metric", name, VERSION)
        return Metric(name, digest, BUILT_IN[name], compares=name == "cosine")
    match = FUNCTION.fullmatch(name)
    if match and (file := folder / match["file"]).is_file():
        function = UserFunction(file, match["name"], name)
        return Metric(name, code_digest(file, match["name"], name), lambda: Custom(function))
    raise UsageError(
        "E287",
        f"there is no file {match['file']}" if match else f"there is no metric named `{name}`",
        where=name,
        fix="put it beside the recipe"
        if match
        else f"{did_you_mean(name, BUILT_IN)}; or data.py:f",
    )
