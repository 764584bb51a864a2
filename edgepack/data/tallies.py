"""Tallies: each takes in a model's answers sample by sample and makes one number of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgepack.data.function import UserFunction
from edgepack.data.ranks import spearman
from edgepack.errors import MeasurementError
from edgepack.graph.agreement import agreement, cosine
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.types import Array, Tensors


class Tally(Protocol):
    """A metric in the making.

    Attributes:
        samples: how many were added.
    """

    samples: int

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Take in one sample: the outputs of each of its runs, and the reference model's."""

    def value(self) -> float:
        """Return the points; raises a `MeasurementError` where they are not defined."""


class Accuracy:
    """Percent of samples whose largest logit, or whose integer answer, is the label."""

    def __init__(self) -> None:
        self.samples = 0
        self._right = 0

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Compare the first output, of shape [1, classes], with an integer label."""
        where = f"sample {self.samples}"
        first = _first(outputs[0])
        logits = first.ravel()
        integer = first.dtype.kind in "iu" and first.size == 1
        classes = first.ndim > 0 and first.size == first.shape[-1] > 1
        if len(outputs) != 1 or not (integer or classes):
            raise _not_scored("accuracy", f"the first output has the shape {list(first.shape)}")
        label = _number(sample, "accuracy", where)
        if label != int(label) or label < 0 or (not integer and label >= first.size):
            why = f"the model's classes are 0 to {first.size - 1}"
            raise _label("accuracy", f"the label {label:g} is no class", where, why)
        answer = logits[0] if integer else np.argmax(logits)
        # argmax calls NaN the largest: such an answer is wrong whatever the label.
        self._right += int(answer == label and not np.isnan(logits).any())
        self.samples += 1

    def value(self) -> float:
        """Return the percentage of right answers."""
        return 100 * self._right / _counted(self.samples, "accuracy")


class Spearman:
    """Rank correlation, times 100, of the model's numbers with the labels.

    A sample of two runs is a pair: its number is the cosine of their embeddings, which are the
    first output, its tokens averaged under the attention mask where it is [1, tokens, width]. A
    sample of one run must answer with a single number.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._numbers: list[float] = []
        self._labels: list[float] = []

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Reduce a sample to its number."""
        self._labels.append(_number(sample, "spearman", f"sample {self.samples}"))
        if len(outputs) == 2:
            left, right = map(embedding, sample.inputs, outputs)
            self._numbers.append(cosine(left, right))
        else:
            first = _first(outputs[0])
            if first.size != 1:
                raise _not_scored("spearman", f"the first output has the shape {list(first.shape)}")
            if not np.isfinite(first).all():
                raise _not_scored("spearman", f"it answers {first.item()} to sample {self.samples}")
            self._numbers.append(float(first.item()))
        self.samples += 1

    def value(self) -> float:
        """Return the correlation times 100."""
        _counted(self.samples, "spearman")
        if (found := spearman(self._numbers, self._labels)) is not None:
            return 100 * found
        what = "labels" if len(set(self._labels)) == 1 else "answers"
        raise MeasurementError(
            "E507",
            f"spearman is not defined: all {what} of {self.samples} samples are equal",
            fix="give samples with different labels"
            if what == "labels"
            else "check the model: it does not tell these samples apart",
        )


class Cosine:
    """Mean cosine, times 100, between the outputs and those of the model as it came in."""

    def __init__(self) -> None:
        self.samples = 0
        self._sum = 0.0

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Average the runs of a sample."""
        pairs = zip(reference, outputs, strict=True)
        self._sum += sum(agreement(want, got).cosine for want, got in pairs) / len(outputs)
        self.samples += 1

    def value(self) -> float:
        """Return the mean times 100."""
        return 100 * self._sum / _counted(self.samples, "cosine")


class Custom:
    """A user's ``metric(outputs, labels) -> float``; all outputs are kept until it is called.

    It is handed one mapping a sample, or a tuple of mappings for samples of two runs.
    """

    def __init__(self, function: UserFunction) -> None:
        self.samples = 0
        self._function = function
        self._outputs: list[Any] = []
        self._labels: list[Any] = []

    def add(self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors]) -> None:
        """Keep the outputs."""
        runs = tuple(dict(run) for run in outputs)
        self._outputs.append(runs[0] if len(runs) == 1 else runs)
        self._labels.append(sample.label)
        self.samples += 1

    def value(self) -> float:
        """Return what the user's function makes of them."""
        name = self._function.reference
        _counted(self.samples, name)
        answer = self._function(self._outputs, self._labels)
        try:
            value = float(answer)
        except (TypeError, ValueError):
            value = math.nan
        if math.isfinite(value):
            return value
        raise MeasurementError(
            "E508", f"`{name}` gave {answer!r}", fix="return a finite number of points"
        )


def embedding(inputs: Tensors, outputs: Tensors) -> Array:
    """Return one vector for a text: the first output, tokens averaged where the mask is set."""
    first = _first(outputs).astype(np.float64)
    if first.ndim == 3:
        weights = np.asarray(inputs.get("attention_mask", np.ones(first.shape[:2])))[..., None]
        return np.asarray((first * weights).sum(axis=1) / max(weights.sum(), 1)).ravel()
    if first.ndim != 2:
        raise _not_scored("spearman", f"the first output has the shape {list(first.shape)}")
    return first.ravel()


def _first(outputs: Tensors) -> Array:
    return np.asarray(next(iter(outputs.values())))


def _number(sample: Sample, metric: str, where: str) -> float:
    try:
        value = float(sample.label)
    except (TypeError, ValueError):
        value = math.nan
    if math.isfinite(value):
        return value
    raise _label(metric, f"the label {sample.label!r} is no number", where, "")


def _counted(samples: int, metric: str) -> int:
    if samples:
        return samples
    raise MeasurementError(
        "E509", f"{metric} over no samples", fix="give evaluation data with at least one sample"
    )


def _label(metric: str, what: str, where: str, why: str) -> MeasurementError:
    return MeasurementError(
        "E505", f"{metric}: {what}", where=where, why=why, fix="give every sample a fitting label"
    )


def _not_scored(metric: str, why: str) -> MeasurementError:
    return MeasurementError(
        "E506",
        f"{metric} cannot score this model",
        why=why,
        fix='write a function in data.py and name it as `metric = "data.py:metric"`',
    )
