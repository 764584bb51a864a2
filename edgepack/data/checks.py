"""Looks through the splits for what makes a result worthless, before the work is done."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from edgepack.base import Events
from edgepack.data.identity import identity
from edgepack.errors import UsageError
from edgepack.types import Sample, Samples, Split

if TYPE_CHECKING:
    from edgepack.types import Array

MOST = 5000
"""Samples of a split that are looked at."""
APART = 20
"""Times by which the largest values of two splits may differ."""
CLASSES = ("accuracy", "auc", "f1", "top")
"""How the names of metrics begin that mean nothing where all labels are the same."""
_SHOWN = 5


@dataclass
class Spread:
    """What the values of one float input span.

    Attributes:
        low, high: over all samples.
        whole: whether all are whole numbers.
        picture: whether the input has four axes.
    """

    low: float = math.inf
    high: float = -math.inf
    whole: bool = True
    picture: bool = False

    def add(self, array: Array) -> None:
        """Take in the values of one run; an empty array changes nothing."""
        if array.size:
            self.low = min(self.low, float(array.min()))
            self.high = max(self.high, float(array.max()))
            self.whole = self.whole and bool((array == np.floor(array)).all())
            self.picture = array.ndim == 4

    @property
    def peak(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))


@dataclass
class Seen:
    """What is kept of a split: 16 bytes a sample, and a few numbers an input.

    Attributes:
        places: digest of a sample's inputs -> where it stands first.
        count: samples looked at.
        cut: whether there are more.
        labels: up to two different labels.
        spreads: by float input.
    """

    places: dict[bytes, int] = field(default_factory=dict)
    count: int = 0
    cut: bool = False
    labels: list[Any] = field(default_factory=list)
    spreads: dict[str, Spread] = field(default_factory=dict)

    def add(self, sample: Sample) -> bytes:
        """Take a sample in and return its digest."""
        for run in sample.inputs:
            for name, array in run.items():
                if array.dtype.kind == "f" and name not in sample.state:
                    self.spreads.setdefault(name, Spread()).add(array)
        key = identity(sample)
        self.places.setdefault(key, self.count)
        self.count += 1
        if len(self.labels) < 2:
            for value in _values(sample.label):
                if len(self.labels) < 2 and value not in self.labels:
                    self.labels.append(value)
        return key


@runtime_checkable
class Numbered(Protocol):
    """Samples whose classes have names."""

    @property
    def numbered(self) -> Mapping[str, int]:
        """Return, once they were read, the numbers that classes got by the order of their names.

        There are none where the model says the numbers.
        """


def check_splits(
    data: Mapping[Split, Samples], metric: str | None, events: Events
) -> tuple[str, ...]:
    """Return what is wrong with the data, a sentence each that says how to mend it.

    Each split is read once, at most its first `MOST` samples; what was made up is not looked at.

    Args:
        data: the splits; one that stands in for another is looked at once.
        metric: what the evaluation samples are scored by.
        events: takes progress, and each sentence.

    Raises:
        UsageError: E299 where all evaluation samples are calibration or training samples, E262
            where the classes of two splits would be numbered differently.
    """
    seen: dict[Split, Seen] = {}
    warnings: list[str] = []
    looked: list[Samples] = []
    for split in ("calibration", "train", "evaluation"):
        samples = data.get(split)
        if samples is None or samples.generated or any(samples is other for other in looked):
            continue
        looked.append(samples)
        seen[split], again = _look(split, samples, seen, events)
        warnings += _alone(split, seen[split], metric)
        warnings += _shared(again, seen[split], split)
    warnings += _apart(seen)
    warnings += _numbers({split: data[split] for split in seen}, metric)
    for warning in warnings:
        events.note(warning)
    return tuple(warnings)


def _look(
    split: Split, samples: Samples, others: Mapping[Split, Seen], events: Events
) -> tuple[Seen, dict[Split, list[tuple[int, int]]]]:
    """Read a split; for evaluation, also find the places of samples that other splits hold."""
    seen = Seen()
    again: dict[Split, list[tuple[int, int]]] = {}
    total = min(len(samples), MOST)
    seen.cut = len(samples) > MOST
    for sample in itertools.islice(samples, MOST):
        key = seen.add(sample)
        if split == "evaluation":
            for other, found in others.items():
                if key in found.places:
                    again.setdefault(other, []).append((seen.count - 1, found.places[key]))
        events.progress(f"checking {split} data", seen.count, total)
    return seen, again


def _alone(split: Split, seen: Seen, metric: str | None) -> list[str]:
    """Say what is wrong with a split by itself."""
    found = []
    among = f"the first {MOST:,}" if seen.cut else f"all {seen.count:,}"
    if seen.count > 1 and len(seen.places) == 1:
        found.append(
            f"{split} data: {among} samples are the same as sample 0; check what makes them"
        )
    for name, spread in seen.spreads.items():
        if spread.low == spread.high:
            found.append(
                f"{split} data: every value of `{name}` is {spread.low:g}, from sample 0 on, in "
                f"{among} samples; check what fills it"
            )
        if spread.picture and spread.whole and spread.low >= 0 and 2 < spread.high <= 255:
            found.append(
                f"{split} data: `{name}` holds whole numbers up to {spread.high:g}, as in sample "
                "0, where networks mostly take 0 to 1 or normalised values; divide by 255 as the "
                "training did, unless the model does so itself"
            )
    scored = split == "evaluation" and (metric or "").startswith(CLASSES)
    if scored and len(seen.labels) == 1 and seen.count > 1 and not seen.cut:
        found.append(
            f"evaluation data: all {seen.count:,} samples, from sample 0 on, have the label "
            f"{seen.labels[0]!r}, so {metric} says little; add samples of the other classes"
        )
    return found


def _shared(again: Mapping[Split, list[tuple[int, int]]], seen: Seen, split: Split) -> list[str]:
    """Say which evaluation samples other splits hold.

    Raises:
        UsageError: E299 where they all do.
    """
    found = []
    for other, pairs in again.items():
        shown = ", ".join(f"{here} ({other} {there})" for here, there in pairs[:_SHOWN])
        if len(pairs) == seen.count and not seen.cut:
            raise UsageError(
                "E299",
                f"all evaluation samples are {other} samples",
                where=f"evaluation sample {shown}{' ...' if len(pairs) > _SHOWN else ''}",
                why="a model is not judged by what it was made from",
                fix=f"give evaluation samples of their own, or take them out of `{other}`",
            )
        among = f"{seen.count:,}{' looked at' if seen.cut else ''}"
        found.append(
            f"{split} data: {len(pairs):,} of {among} samples are {other} samples too: "
            f"{shown}{', ...' if len(pairs) > _SHOWN else ''}; take them out of one of the two"
        )
    return found


def _apart(seen: Mapping[Split, Seen]) -> list[str]:
    """Say which inputs have other ranges in evaluation than in the other splits."""
    found = []
    judged = seen.get("evaluation", Seen())
    for other in (split for split in seen if split != "evaluation"):
        for name, spread in judged.spreads.items():
            before = seen[other].spreads.get(name, Spread())
            low, high = sorted((before.peak, spread.peak))
            if math.isfinite(high) and low > 0 and high > APART * low:
                found.append(
                    f"`{name}` reaches {before.peak:g} in {other} data and {spread.peak:g} in "
                    "evaluation data; prepare both alike"
                )
    return found


def _numbers(data: Mapping[Split, Samples], metric: str | None) -> list[str]:
    """Say how classes were numbered that the model does not number.

    Raises:
        UsageError: E262 where labels that are learnt or scored lack a class that another split
            has, so that the classes after it would have other numbers.
    """
    numbers = {s: d.numbered for s, d in data.items() if isinstance(d, Numbered) and d.numbered}
    used = [split for split in numbers if split == "train" or (split == "evaluation" and metric)]
    every: set[str] = set().union(*numbers.values())
    for split in used:
        if lost := sorted(every - numbers[split].keys()):
            other = next(s for s, found in numbers.items() if lost[0] in found)
            raise UsageError(
                "E262",
                f"{split} data has no class `{lost[0]}`, which {other} data has",
                where=f"data.{split}",
                why="classes are numbered in the order of their names, each split by itself",
                fix="give every split samples of every class, or name classes by their numbers",
            )
    if not used:
        return []
    shown = [f"{name} = {number}" for name, number in numbers[used[0]].items()]
    more = ["..."] if len(shown) > _SHOWN else []
    return [
        f"classes were numbered in the order of their names: {', '.join(shown[:_SHOWN] + more)}; "
        "name them by their numbers, or give the model's config.json `label2id`, if the model "
        "counts otherwise"
    ]


def _values(label: Any) -> list[Any]:
    """Return the values of a label that is plain or a flat list; any other is like no other."""
    if isinstance(label, np.ndarray | np.generic):
        label = label.tolist()
    values = label if isinstance(label, list | tuple) else [label]
    plain = all(isinstance(value, str | int | float | np.number | np.bool_) for value in values)
    return list(values) if plain else [object()]
