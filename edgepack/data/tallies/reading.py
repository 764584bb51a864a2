"""Reads answers and labels in the few shapes that metrics understand."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.data.tallies import refusals
from edgepack.graph.agreement import cosine
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.types import Array, Tensors

IGNORED = -100
"""A label in a list that stands for no answer, as transformers writes it: padding, or a part of
a word."""


def first(outputs: Tensors) -> Array:
    """Return the first output of a run."""
    return np.asarray(next(iter(outputs.values())))


def numbers(sample: Sample, metric: str, where: str) -> Array:
    """Return the label as a flat array of finite numbers.

    Raises:
        MeasurementError: E505 where it is none.
    """
    try:
        found = np.asarray(sample.label, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if np.isfinite(found).all():
        return found
    raise refusals.label(metric, f"the label {reprlib.repr(sample.label)} is no number", where)


def number(sample: Sample, metric: str, where: str) -> float:
    """Return the label as one finite number; raises as `numbers`."""
    found = numbers(sample, metric, where)
    if found.size == 1:
        return float(found[0])
    raise refusals.label(metric, f"the label is {found.size} numbers and not one", where)


def classes(sample: Sample, metric: str, where: str, count: int | None = None) -> Array:
    """Return the label as a flat array of class numbers; those of `IGNORED` are kept in it.

    Raises:
        MeasurementError: E505 where it is none, or reaches `count`.
    """
    found = numbers(sample, metric, where)
    kept = found[found != IGNORED] if np.ndim(sample.label) else found
    strange = (kept != np.floor(kept)) | (kept < 0)
    if count is not None:
        strange |= kept >= count
    if not strange.any():
        return found.astype(np.int64)
    why = "" if count is None else f"the model's classes are 0 to {count - 1}"
    raise refusals.label(metric, f"the label {kept[strange][0]:g} is no class", where, why)


def positions(
    sample: Sample, outputs: Sequence[Tensors], metric: str, where: str
) -> tuple[Array, Array]:
    """Return the answers where there is a label, and those labels.

    A label of one class goes with one position; a list goes with as many: the frames or tokens of
    one run, or one for each run of a model that keeps a state.

    Returns:
        The first outputs as [n, classes], or as [n] where they are integers; and the n labels.

    Raises:
        MeasurementError: E505, E506.
    """
    firsts = [first(run) for run in outputs]
    integers = all(f.dtype.kind in "iu" for f in firsts)
    widths = {f.shape[-1] if f.ndim else 1 for f in firsts}
    if not integers and (len(widths) > 1 or widths <= {0, 1}):
        raise refusals.not_scored(metric, f"the first output has the shape {list(firsts[0].shape)}")
    answers = np.concatenate([f.ravel() if integers else f.reshape(-1, *widths) for f in firsts])
    count = None if integers else widths.pop()
    if len(answers) != 1 and np.ndim(sample.label) == 0:
        shape = f"{len(outputs)} runs" if len(outputs) > 1 else f"the shape {list(firsts[0].shape)}"
        raise refusals.not_scored(metric, f"there is one label, and the first output has {shape}")
    labels = classes(sample, metric, where, count)
    if len(labels) != len(answers):
        what = f"there are {len(labels)} labels and {len(answers)} answers"
        raise refusals.label(metric, what, where)
    kept = labels != IGNORED
    return answers[kept], labels[kept]


def chosen(answers: Array) -> Array:
    """Return the class of each answer: the largest logit's, or the integer; -1 where one is NaN."""
    if answers.ndim == 1:
        return answers
    # argmax calls NaN the largest: such an answer is no class at all.
    broken = np.isnan(answers).any(axis=1)
    return np.where(broken, -1, answers.argmax(axis=1))


def likeness(sample: Sample, outputs: Sequence[Tensors], metric: str, where: str) -> float:
    """Return the number of a sample: its answer, or the cosine of the embeddings of a pair.

    An embedding is the first output, its tokens averaged under the attention mask where it is
    [1, tokens, width].

    Raises:
        MeasurementError: E506 for an answer of several numbers, E510 for one that is not finite.
    """
    if len(outputs) == 2:
        left, right = (
            _embedding(inputs, run, metric)
            for inputs, run in zip(sample.inputs, outputs, strict=True)
        )
        return cosine(left, right)
    answer = first(outputs[0])
    if len(outputs) != 1 or answer.size != 1:
        raise refusals.not_scored(metric, f"the first output has the shape {list(answer.shape)}")
    return float(finite(answer, metric, where).item())


def finite(answer: Array, metric: str, where: str) -> Array:
    """Return the answer as float64; raises E510 where a value is NaN or infinite."""
    wide = answer.astype(np.float64)
    if np.isfinite(wide).all():
        return wide
    raise refusals.not_finite(metric, where)


def _embedding(inputs: Tensors, outputs: Tensors, metric: str) -> Array:
    found = first(outputs).astype(np.float64)
    if found.ndim == 3:
        weights = np.asarray(inputs.get("attention_mask", np.ones(found.shape[:2])))[..., None]
        return np.asarray((found * weights).sum(axis=1) / max(weights.sum(), 1)).ravel()
    if found.ndim != 2:
        raise refusals.not_scored(metric, f"the first output has the shape {list(found.shape)}")
    return found.ravel()
