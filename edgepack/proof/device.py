"""Proves an artifact on a device: its golden vectors, run there, must come out right."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.devices import Answer, Channel, DeviceFailure, DeviceInfo, Job
from edgepack.devices.work import execute
from edgepack.errors import HostError
from edgepack.graph.agreement import Agreement, agreement
from edgepack.report import Device
from edgepack.types import Tolerance

if TYPE_CHECKING:
    from edgepack.artifact import Artifact
    from edgepack.artifact.manifest import Isa
    from edgepack.types import Tensors

SECONDS, SECONDS_A_MEGABYTE = 120.0, 5.0
"""Time that a channel has by itself, and for each megabyte of the model: an emulated processor that
counts reads and folds large weights slowly."""
FAILURES = {
    "crash": "the runtime crashed",
    "illegal-instruction": "illegal instruction",
    "deadline": "no answer in time",
    "error": "the runtime refused it",
}


def prove(
    artifact: Artifact,
    channel: Channel,
    *,
    count: bool = False,
    rounds: int = 0,
    seconds: float | None = None,
    any_features: bool = False,
    vectors: int | None = None,
) -> Device:
    """Run an artifact's golden vectors on a channel and hold the answers against its tolerance.

    Args:
        artifact: what to prove.
        channel: where.
        count: count the instructions of one inference, where the channel can.
        rounds: timed inferences, where the channel's clock is real.
        seconds: deadline of the whole run; None for what suits the model's size.
        any_features: try it even where the device lacks a feature that it is made for, and hold it
            to what it does there.
        vectors: how many of the golden vectors to run; all for None.

    Returns:
        A device whose verdict is `pass`; `fail` where the answers are wrong or it broke; or
        `unverified` where it could not be tried, with the reason and the way out.
    """
    told: dict[str, Any] = {
        "on": channel.name,
        "kind": "measured" if channel.real_clock else "counted",
    }
    golden = artifact.vectors()[:vectors]
    try:
        info = channel.info()
        told |= {"cpu": info.cpu, "runtime": info.runtime}
        if why := _obstacle(artifact.manifest.isa, info, any_features):
            return Device(**told, verdict="unverified", why=why)
        if not golden:
            why = "the artifact carries no golden vectors; build it with data to calibrate on"
            return Device(**told, verdict="unverified", why=why)
        answer = _run(artifact, channel, [inputs for inputs, _ in golden], count, rounds, seconds)
    except HostError as problem:
        why = ": ".join(part for part in (problem.what, problem.why) if part)
        return Device(**told, verdict="unverified", why=f"{why}; fix: {problem.fix}")
    except DeviceFailure as problem:
        what = FAILURES.get(problem.reason, problem.reason)
        why = f"{what}: {problem.detail}" if problem.detail else what
        return Device(**told, verdict="fail", why=why)
    told["runtime"] = answer.runtime
    return Device(
        **told,
        **_numerics([outputs for _, outputs in golden], answer, artifact.manifest.tolerance),
        **_figures(answer, channel, count),
    )


def _obstacle(isa: Isa, info: DeviceInfo, any_features: bool) -> str:
    """Say why a device cannot speak for the instruction set an artifact is made for."""
    if isa.arch != info.arch:
        return (
            f"it is made for {isa.arch} and {info.cpu or 'the device'} is {info.arch}; "
            f"verify it with `--on qemu:CPU`, naming an {isa.arch} one"
        )
    missing = sorted(set(isa.features) - set(info.features))
    if missing and not any_features:
        return (
            f"{info.cpu or 'the device'} lacks {', '.join(missing)}, which it is made for; "
            "verify it on one that has it, or name this one with `--on` to see what it does here"
        )
    return ""


def _run(
    artifact: Artifact,
    channel: Channel,
    inputs: Sequence[Tensors],
    count: bool,
    rounds: int,
    seconds: float | None,
) -> Answer:
    with tempfile.TemporaryDirectory(prefix="edgepack-prove-") as work:
        model = artifact.extract_model(Path(work))
        if seconds is None:
            size = sum(part.stat().st_size for part in Path(work).iterdir())
            seconds = SECONDS + SECONDS_A_MEGABYTE * size / 1e6
        job = Job(
            model=model,
            session=artifact.manifest.session,
            vectors=inputs,
            count=count and channel.counts,
            rounds=rounds if channel.real_clock else 0,
            seconds=seconds,
        )
        return execute(channel, job)


def _numerics(expected: Sequence[Tensors], answer: Answer, tolerance: Tolerance) -> dict[str, Any]:
    """Hold the answers against the golden ones; the mean cosine is judged, the worst told."""
    pairs = list(zip(expected, answer.outputs, strict=True))
    for want, got in pairs:
        if lost := set(want) - set(got):
            return {"verdict": "fail", "why": f"it gave no output `{min(lost)}`"}
    found = [agreement(want, got) for want, got in pairs]
    relative = max(one.relative for one in found)
    why = _departure(found, tolerance)
    return {
        "verdict": "fail" if why else "pass",
        "why": why,
        "exact": all(one.exact for one in found),
        "difference": relative if np.isfinite(relative) else None,
        "cosine": float(np.mean([one.cosine for one in found])),
        "cosine_worst": min(one.cosine for one in found),
        "vectors": len(found),
    }


def _departure(found: Sequence[Agreement], tolerance: Tolerance) -> str:
    """Say how the answers leave the tolerance; nothing where they do not."""
    relative = max(one.relative for one in found)
    mean = float(np.mean([one.cosine for one in found]))
    if tolerance.exact:
        wrong = sum(not one.exact for one in found)
        return (
            f"{wrong} of {len(found)} golden vectors are not equal to the byte; "
            f"the largest relative difference is {relative:.2g}"
            if wrong
            else ""
        )
    if not np.isfinite(relative):
        return "an output has another shape or type, or is not finite where it must be"
    if relative > tolerance.relative:
        return f"the relative difference {relative:.2g} exceeds {tolerance.relative:.2g}"
    # Rounding alone may leave the cosine of equal vectors a hair below one.
    if mean < tolerance.cosine - 1e-9:
        return f"the mean cosine {mean:.5f} is below {tolerance.cosine:.5f}"
    return ""


def _figures(answer: Answer, channel: Channel, count: bool) -> dict[str, Any]:
    """Return counts and latencies; emulated wall time and memory are no figures of the device."""
    figures: dict[str, Any] = {"instructions": answer.instructions}
    if count and answer.instructions is None:
        figures["not_counted"] = answer.not_counted or f"{channel.name} counts no instructions"
    if channel.real_clock:
        figures["memory_bytes"] = answer.memory_bytes
        if answer.latency_ns:
            points = np.percentile(answer.latency_ns, [50, 90, 99]) / 1e6
            figures["latency_ms"] = dict(zip(("p50", "p90", "p99"), points.tolist(), strict=True))
    return figures
