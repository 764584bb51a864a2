"""Says from figures where a step does not suit the model, the data or the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepack.report import Effect, Metric

FEW = 100
"""Answers below which one of them weighs more than a point."""
SAME = 0.02
"""Work that differs by a smaller share counts as the same."""
WON = 0.5
"""Share of what was lost before that a recovery should win back."""


def judge_effects(effects: Sequence[Effect]) -> list[Effect]:
    """Return the effects of a plan's steps, in their order, each with what its figures say.

    1. Parameters fell, and the work did not: instructions where they were counted, else
       multiply-adds. Or the work rose.
    2. There are too few samples to tell its change of the metric, or its interval holds zero.
    3. It made nothing smaller or faster, and lost beyond its interval.
    4. It made nothing smaller, to win back what was lost before, and won back less than half.
    5. No figure changed at all.
    """
    told: list[Effect] = []
    owed = 0.0
    for effect in effects:
        notes = [*_work(effect), *_answers(effect, owed)]
        if not effect.why and effect.before == effect.after and _drop(effect.metric) == 0:
            notes.append("no figure changed")
        owed = max(0.0, owed + (_drop(effect.metric) or 0.0))
        told.append(effect.model_copy(update={"notes": tuple(notes)}))
    return told


def _work(effect: Effect) -> Iterator[str]:
    before, after = effect.before, effect.after
    counted = before.instructions, after.instructions
    named = "instructions"
    if None in counted:
        counted, named = (before.multiply_adds, after.multiply_adds), "multiply-adds"
    work, weight = _share(*counted), _share(before.parameters, after.parameters)
    if work is not None and work > SAME:
        yield f"it executes {100 * work:.0f} % more {named} than before"
    elif work is not None and weight is not None and weight < -SAME and work > -SAME:
        yield f"parameters fell by {-100 * weight:.0f} %, and {named} did not: expect no less time"


def _answers(effect: Effect, owed: float) -> Iterator[str]:
    metric, drop = effect.metric, _drop(effect.metric)
    if metric is None or drop is None:
        return
    items = max(metric.items, metric.samples)
    interval = metric.drop_interval
    if items < FEW:
        yield f"{items} evaluation samples are too few to judge {metric.name} by"
    elif drop and interval and interval[0] <= 0 <= interval[1]:
        low, high = (f"{end:.3g}" for end in interval)
        name = metric.name
        yield f"its change of {name} may be chance: the loss's 95 % interval is [{low}, {high}]"
    if not _same_size(effect):
        return
    if interval and interval[0] > 0:
        yield f"it made nothing smaller or faster, and lost {_amount(metric, drop)}"
    elif drop < 0 and -drop < WON * owed:
        yield f"it won back {_amount(metric, -drop)} of the {_amount(metric, owed)} lost before it"


def _amount(metric: Metric, value: float) -> str:
    return f"{value:.3g} {'%' if metric.relative else 'points'}"


def _same_size(effect: Effect) -> bool:
    before, after = (one.model_dump(exclude={"bytes"}) for one in (effect.before, effect.after))
    return before == after


def _drop(metric: Metric | None) -> float | None:
    return metric.drop if metric else None


def _share(before: int | None, after: int | None) -> float | None:
    """Return by what share of itself a number grew."""
    return None if not before or after is None else after / before - 1
