"""Holds a student's right answers beside its teacher's, and says what that tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.objective import first
from edgepack.errors import UsageError

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.lessons import Lessons
    from edgepack.model import Model

MOST = 256
"""Samples of each split that are looked at."""
FEW = 100
"""Samples below which a difference of accuracies is mostly chance."""


def judge(
    student: Model, teacher: Model, data: Batches, context: Context, lessons: Lessons
) -> dict[str, object]:
    """Return accuracies of both in percent, for classes with labels; nothing for all others.

    What the student was taught on and the evaluation data are told apart, and it is noted where it
    beats its teacher on the former alone.

    Args:
        student: after training.
        teacher: of it.
        data: what it was taught on.
        context: has the evaluation data and takes notes.
        lessons: the teacher's answers to `data`.
    """
    places = range(min(len(data), MOST))
    _, theirs = lessons.at(places)
    with torch.no_grad():
        ours = first(student.module(*data.inputs(places)))
    if ours.dim() != 2 or ours.shape != theirs.shape:
        return {}
    told: dict[str, object] = {}
    agreed = 100 * float((ours.argmax(-1) == theirs.argmax(-1)).float().mean())
    if _classes(data):
        taught = _right(ours, data, places), _right(theirs, data, places)
        told |= {"agreement": round(agreed, 2), "train_accuracy": _rounded(*taught)}
    held = _evaluation(student, context)
    if held is None:
        return told
    every = range(len(held))
    with torch.no_grad():
        mine, other = (
            torch.cat([first(m.module(*inputs)) for inputs, _ in held.each(1)])
            for m in (student, teacher)
        )
    unseen = _right(mine, held, every), _right(other, held, every)
    told |= {"evaluation_accuracy": _rounded(*unseen), "evaluation_samples": len(held)}
    if len(held) < FEW:
        context.events.note(
            f"the evaluation data has {len(held)} samples: too few to tell the two models apart"
        )
    elif _classes(data) and taught[0] > taught[1] and unseen[0] < unseen[1]:
        context.events.note(
            f"the student beats its teacher only on what it was taught on ({taught[0]:.1f} against "
            f"{taught[1]:.1f} %); on the evaluation data it is right for {unseen[0]:.1f} against "
            f"{unseen[1]:.1f} %"
        )
    return told


def _evaluation(student: Model, context: Context) -> Batches | None:
    """Return evaluation data whose labels are classes, or None."""
    samples = context.data.get("evaluation")
    if samples is None or samples.generated:
        return None
    one = next(iter(samples), None)
    if one is None or len(one.inputs) != 1 or one.label is None:
        return None
    try:
        held = Batches.of(student, samples, labelled=True, most=MOST)
    except UsageError:  # labels of another kind, which only a metric understands
        return None
    return held if _classes(held) else None


def _classes(data: Batches) -> bool:
    return data.labels is not None and not data.labels.is_floating_point()


def _right(given: torch.Tensor, data: Batches, places: range) -> float:
    return 100 * float((given.argmax(-1) == data.answers(places)).float().mean())


def _rounded(student: float, teacher: float) -> dict[str, float]:
    return {"student": round(student, 2), "teacher": round(teacher, 2)}
