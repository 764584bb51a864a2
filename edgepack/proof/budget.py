"""The judge: every gate is decided here, from measurements alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

from edgepack.proof.fidelity import Fidelity
from edgepack.report import Device, Gate, Metric, Verdict
from edgepack.types import Frozen, Tolerance

Number: TypeAlias = int | float
ROUNDING = 1e-9
"""Percentages are fractions of samples: a drop of exactly the limit must not fail by rounding."""


class Limits(Frozen):
    """What is asked for, the target's defaults filled in; None is no limit.

    Attributes:
        max_drop: points of the metric that may be lost.
        max_slowdown: percent of instructions that it may execute more than the float model.
        cosine: smallest mean cosine to the model as it came in.
        size: largest artifact, in bytes.
        instructions: most instructions of one inference, on the worst device that counts.
        asked: the limits that the user wrote, as opposed to defaults.
    """

    max_drop: float | None = None
    max_slowdown: float | None = None
    cosine: float | None = 0.99
    size: int | None = None
    instructions: int | None = None
    asked: frozenset[str] = frozenset()


class Measurements(Frozen):
    """What was found out about one artifact; None is not measured.

    Attributes:
        bytes: size of the artifact.
        tolerance: how far devices may stand from the golden outputs.
        metric: before and after; its `why` says what kept it from being measured.
        fidelity: cosine and flips against the model as it came in.
        devices: what each channel said.
        float_instructions: counted for the float model on one of those devices.
        instructions: counted for this one beside it.
    """

    bytes: int
    tolerance: Tolerance
    metric: Metric | None = None
    fidelity: Fidelity | None = None
    devices: tuple[Device, ...] = ()
    float_instructions: int | None = None
    instructions: int | None = None


def judge(limits: Limits, found: Measurements) -> tuple[Gate, ...]:
    """Hold measurements against limits; `report.worst` makes one verdict of the gates.

    1. `max_drop` is judged where the metric was measured before and after.
    2. Where one sample weighs more than `max_drop`, or the metric was not measured and the limit
       is only a default, `cosine` and `label_flips` are judged instead and say so.
    3. Where the user asked for `max_drop` and nothing was measured, it is unverified.
    4. `cosine` is judged, too, where the user asked for it.
    5. `size` and `instructions` are judged where there is a limit.
    6. `max_slowdown` is judged where both models were counted.
    7. Every device is a gate of its own; no device at all is unverified.
    """
    return (
        *judge_answers(limits, found),
        *judge_budget(limits, found),
        *_slowdown(limits, found),
        *_devices(found),
    )


def judge_answers(limits: Limits, found: Measurements) -> Iterator[Gate]:
    """Hold what this machine measured of the answers against the limits: rules 1 to 4."""
    most = limits.max_drop
    instead = _instead(most, found.metric) if most is not None else ""
    if most is not None and not instead:
        assert found.metric is not None
        yield _drop(found.metric, most)
    elif most is not None and "max_drop" in limits.asked and not _measured(found.metric):
        why = f'{instead}; fix: name `evaluation = "..."` and `metric = "..."` under [data]'
        yield Gate(name="max_drop", value=None, limit=most, verdict="unverified", why=why)
    told = f"; judged in place of max_drop: {instead}" if instead else ""
    if limits.cosine is not None and (instead or most is None or "cosine" in limits.asked):
        yield _cosine(limits.cosine, found.fidelity, told)
    if most is not None and instead and found.fidelity and found.fidelity.flips is not None:
        yield _flips(most, found.fidelity.flips, found.fidelity.samples, told)


def _measured(metric: Metric | None) -> bool:
    return metric is not None and metric.before is not None and metric.after is not None


def _instead(most: float, metric: Metric | None) -> str:
    """Say why the metric cannot be judged; nothing where it can."""
    if metric is None or not _measured(metric):
        return (metric.why if metric else "") or "there is no evaluation data with a metric"
    if metric.relative:
        return ""
    items = max(metric.items, metric.samples)
    weight = 100 / items if items else math.inf
    if weight > most + ROUNDING:
        return f"one of {items} samples weighs {weight:.3g} points"
    return ""


def _drop(metric: Metric, most: float) -> Gate:
    drop = metric.drop
    assert drop is not None
    figures = f"{metric.name} {metric.before:.5g} before, {metric.after:.5g} after"
    if not math.isfinite(drop):
        return Gate(name="max_drop", value=None, limit=most, verdict="invalid", why=figures)
    told = [figures + (", in percent of before" if metric.relative else "")]
    told.append(f"over {metric.samples} samples")
    if metric.drop_interval:
        low, high = metric.drop_interval
        told.append(f"95 % interval of the drop [{low:.3g}, {high:.3g}]")
    return _at_most("max_drop", drop, most, ", ".join(told))


def _cosine(least: float, fidelity: Fidelity | None, told: str) -> Gate:
    if fidelity is None:
        why = f"it was not compared with the model as it came in{told}; fix: name data under [data]"
        return Gate(name="cosine", value=None, limit=least, verdict="unverified", why=why)
    inputs = "made-up inputs" if fidelity.generated else "samples"
    why = f"worst {fidelity.cosine_worst:.4f} of {fidelity.samples} {inputs}{told}"
    verdict: Verdict = "pass" if fidelity.cosine >= least else "fail"
    return Gate(name="cosine", value=fidelity.cosine, limit=least, verdict=verdict, why=why)


def _flips(most: float, flips: int, samples: int, told: str) -> Gate:
    """As many samples may change their class as would cost `max_drop` if all became wrong."""
    limit = math.floor(samples * most / 100 + ROUNDING)
    return _at_most("label_flips", flips, limit, f"of {samples} samples{told}")


def judge_budget(limits: Limits, found: Measurements) -> Iterator[Gate]:
    """Hold size and work against the limits: rule 5."""
    yield from _size(limits, found)
    yield from _instructions(limits, found)


def _size(limits: Limits, found: Measurements) -> Iterator[Gate]:
    if limits.size is not None:
        yield _at_most("size", found.bytes, limits.size, "bytes of the artifact")


def _instructions(limits: Limits, found: Measurements) -> Iterator[Gate]:
    if limits.instructions is None:
        return
    counted = [(d.instructions, d.on) for d in found.devices if d.instructions is not None]
    if counted:
        worst, on = max(counted)
        yield _at_most("instructions", worst, limits.instructions, f"one inference on {on}")
        return
    reasons = "; ".join(f"{d.on}: {d.not_counted}" for d in found.devices if d.not_counted)
    yield Gate(
        name="instructions",
        value=None,
        limit=limits.instructions,
        verdict="unverified",
        why=f"{reasons or 'no device counted them'}; fix: verify with `--on qemu:CPU`",
    )


def _slowdown(limits: Limits, found: Measurements) -> Iterator[Gate]:
    most = limits.max_slowdown
    if most is None:
        return
    if found.instructions is not None and found.float_instructions:
        ratio = found.instructions / found.float_instructions
        why = f"{found.instructions:,} instructions, float {found.float_instructions:,}"
        yield _at_most("max_slowdown", 100 * (ratio - 1), most, why)
    elif "max_slowdown" in limits.asked:
        why = "the two were not both counted; fix: see `edgepack doctor` for what counting needs"
        yield Gate(name="max_slowdown", value=None, limit=most, verdict="unverified", why=why)


def _devices(found: Measurements) -> Iterator[Gate]:
    allowed = found.tolerance
    limit = f"{allowed.relative:g}, cosine {allowed.cosine:g}"
    limit = "exact" if allowed.exact else limit
    for device in found.devices:
        yield Gate(
            name=f"device {device.on}",
            value="exact" if device.exact else device.difference,
            limit=limit,
            verdict=device.verdict,
            why=device.why,
        )
    if not found.devices:
        why = "no device ran it; fix: name one, as in `--on qemu` or `--on local`"
        yield Gate(name="device", value=None, limit=limit, verdict="unverified", why=why)


def _at_most(name: str, value: Number, limit: Number, why: str) -> Gate:
    verdict: Verdict = "pass" if value <= limit + ROUNDING else "fail"
    return Gate(name=name, value=value, limit=limit, verdict=verdict, why=why)
