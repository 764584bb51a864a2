"""What scores a model's answers, by the name that a user writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgepack.base import Interval, Rows, Tally
from edgepack.data.function import UserFunction
from edgepack.data.reference import FUNCTION
from edgepack.data.tallies.classes import F1, Accuracy, Top
from edgepack.data.tallies.correlation import Pearson, Spearman
from edgepack.data.tallies.custom import Custom
from edgepack.data.tallies.edits import EditRate
from edgepack.data.tallies.error import MeanError
from edgepack.data.tallies.likelihood import Perplexity
from edgepack.data.tallies.likeness import Cosine
from edgepack.data.tallies.roc import Auc
from edgepack.data.tallies.tally import Measure, RowTally
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
        measure: what it makes of each sample; None for a user's function.
    """

    name: str
    digest: str
    start: Callable[[], Tally]
    compares: bool = False
    measure: Measure | None = None

    def drop_interval(self, before: Rows, after: Rows, samples: int) -> Interval | None:
        """Return the 95 % interval of the drop, from the rows of the same samples."""
        if self.measure is None:
            return None
        return self.measure.drop_interval(before, after, samples)


BUILT_IN: dict[str, Callable[[str], Measure]] = {
    "accuracy": Accuracy,
    "auc": Auc,
    "cer": EditRate,
    "cosine": Cosine,
    "f1": F1,
    "f1-binary": lambda name: F1(name, only=1),
    "mae": lambda name: MeanError(name, power=1),
    "pearson": Pearson,
    "perplexity": Perplexity,
    "rmse": lambda name: MeanError(name, power=2),
    "spearman": Spearman,
}
TOP = re.compile(r"top-?(?P<k>[1-9]\d{0,5})")
EDITS = re.compile(r"(cer|wer-space-(?P<space>\d{1,6}))(-blank-(?P<blank>last|\d{1,6}))?")
PATTERNS = ("top5", "wer-space-4", "cer-blank-last", "wer-space-4-blank-last")
"""One of each kind of name that holds a number, for messages."""
VERSION = 2
"""Raised when a metric of ours would score the same answers differently."""


def resolve(name: str, folder: Path) -> Metric:
    """Return a metric by its name, or a user's as ``data.py:metric``; no code runs yet.

    Raises:
        UsageError: E287 for a name that is no metric, E272 or E273 as `code.find`.
    """
    if measure := _measure(name):
        digest = digest_of("metric", name, VERSION)
        compares = name == "cosine"
        return Metric(name, digest, lambda: RowTally(measure), compares, measure)
    match = FUNCTION.fullmatch(name)
    if match and (file := folder / match["file"]).is_file():
        function = UserFunction(file, match["name"], name)
        digest = digest_of("metric", code_digest(file, match["name"], name), VERSION)
        return Metric(name, digest, lambda: Custom(function))
    if match:
        what, fix = f"there is no file {match['file']}", "put it beside the recipe"
    else:
        what = f"there is no metric named `{name}`"
        fix = f"{did_you_mean(name, (*BUILT_IN, *PATTERNS))}; or data.py:f"
    if name == "wer":
        fix = "name the class that stands between words, as in `wer-space-4`"
    raise UsageError("E287", what, where=name, fix=fix)


def _measure(name: str) -> Measure | None:
    if name in BUILT_IN:
        return BUILT_IN[name](name)
    if match := TOP.fullmatch(name):
        return Top(name, int(match["k"]))
    if match := EDITS.fullmatch(name):
        blank, space = match["blank"] or "0", match["space"]
        return EditRate(
            name,
            None if blank == "last" else int(blank),
            None if space is None else int(space),
        )
    return None
