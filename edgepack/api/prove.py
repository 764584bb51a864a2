"""Proves artifacts on devices: through the cache for a build, interleaved for a bench."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

from edgepack.api.chain import versions
from edgepack.base import Events
from edgepack.cache import Cache
from edgepack.devices.open import open_channel
from edgepack.errors import EdgepackError, HostError, UsageError
from edgepack.graph.runner import ChildRunner
from edgepack.proof.bisect import explain_device
from edgepack.proof.device import prove
from edgepack.report import Device
from edgepack.spec.target import load_target
from edgepack.types import digest_of

if TYPE_CHECKING:
    from edgepack.artifact import Artifact
    from edgepack.devices import Channel
    from edgepack.spec.target import Target

Given = TypeVar("Given")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Prover:
    """Proves artifacts on channels, each at most once per device, emulator and runtime.

    Attributes:
        proven: keys of what this one proved itself, and so did not find in the cache.
    """

    cache: Cache
    events: Events
    offline: bool
    proven: set[str] = field(default_factory=set)

    def prove(self, artifact: Artifact, on: str, *, asked: bool = False, rounds: int = 0) -> Device:
        """Run the artifact's golden vectors on one channel; what cannot run is unverified.

        Args:
            artifact: what to prove.
            on: the channel.
            asked: the user named the channel, so the artifact is held to what it does there even
                where the device lacks a feature that the artifact is made for.
            rounds: timed inferences, where the clock is real.
        """
        self.events.progress(f"verify {on}", 0, 1)
        try:
            device = self._prove(artifact, on, asked, rounds)
        except HostError as problem:
            device = unreachable(on, problem)
        self.events.progress(f"verify {on}", 1, 1)
        return device

    def count(self, artifact: Artifact, on: str) -> Device:
        """Count one inference of the first golden vector on a channel that counts."""
        self.events.progress(f"count {artifact.manifest.scheme} on {on}", 0, 1)
        try:
            device = self._prove(artifact, on, False, 0, vectors=1)
        except HostError as problem:
            device = unreachable(on, problem)
        self.events.progress(f"count {artifact.manifest.scheme} on {on}", 1, 1)
        return device

    def _prove(
        self, artifact: Artifact, on: str, asked: bool, rounds: int, vectors: int | None = None
    ) -> Device:
        channel = self.open(artifact, on)
        try:
            device_digest = channel.info().digest
            key = digest_of(
                "device", versions(), artifact.digest, on, asked, vectors, device_digest
            )
            timed = rounds > 0 and channel.real_clock
            if not timed and (entry := self.cache.get(key)):
                try:
                    known = Device.model_validate_json((entry / "device.json").read_bytes())
                    return known.model_copy(update={"cached": key not in self.proven})
                except (OSError, ValueError) as problem:
                    self.cache.drop(key, f"it cannot be read: {problem}")
            device = prove(
                artifact,
                channel,
                count=channel.counts,
                rounds=rounds,
                any_features=asked,
                vectors=vectors,
            )
            if device.verdict == "fail" and device.vectors > 1:
                where = explain_device(artifact, channel, ChildRunner(), self.events)
                told = "; ".join(part for part in (device.why, where) if part)
                device = device.model_copy(update={"why": told})
        finally:
            channel.close()
        # Only a proof is kept: a crash or a deadline may have been this machine's bad day, and a
        # latency is of its moment.
        if device.verdict == "pass" and not timed:
            with self.cache.put(key) as stage:
                (stage / "device.json").write_text(device.model_dump_json())
            self.proven.add(key)
        return device

    def open(self, artifact: Artifact, on: str) -> Channel:
        """Open a channel with the runtime version that the artifact was made for."""
        made_for = artifact.manifest.runtime
        return open_channel(
            on,
            runtime=made_for.maximum,
            offline=self.offline,
            announce=self.events.note,
            package=made_for.package,
        )


def two_at_a_time(count: Callable[[Given], Found], several: Iterable[Given]) -> list[Found]:
    """Count several, in their order; a count, unlike a clock, does not mind company."""
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(count, several))


def counting(target: Target) -> tuple[str, ...]:
    """Name those of a target's channels that count instructions."""

    def counts(on: str) -> bool:
        runtime = target.runtime
        opened = open_channel(on, runtime=runtime.version, package=runtime.package)
        with closing(opened) as channel:
            return channel.counts

    return tuple(filter(counts, target.verify))


def unreachable(on: str, problem: EdgepackError) -> Device:
    """Say that a device could not be asked, and what would mend it."""
    why = f"{problem.what}: {problem.why}" if problem.why else problem.what
    return Device(on=on, verdict="unverified", why=f"{why}; fix: {problem.fix}")


def usual_channels(artifact: Artifact) -> tuple[str, ...]:
    """Return the channels that the artifact's target names, or this machine for an unknown one."""
    try:
        return load_target(artifact.manifest.target).verify
    except UsageError:
        return ("local",)


def interleaved(
    prover: Prover, artifacts: Sequence[Artifact], on: str, rounds: int
) -> list[Device]:
    """Prove each artifact with timed rounds in three passes, and keep each one's fastest.

    Passes alternate between the artifacts, so that a machine that slows down slows all alike. Where
    the clock is not real one pass is enough: a count repeats.
    """
    best: list[Device | None] = [None] * len(artifacts)
    for turn in range(3):
        for index, artifact in enumerate(artifacts):
            prover.events.progress(f"bench {on}", turn * len(artifacts) + index, 3 * len(artifacts))
            device = prover.prove(artifact, on, asked=True, rounds=rounds)
            kept = best[index]
            if kept is None or device.latency_ms.get("p50", 0) < kept.latency_ms.get("p50", 0):
                best[index] = device
        if not any(d and d.latency_ms for d in best):
            break
    prover.events.progress(f"bench {on}", 1, 1)
    return [device for device in best if device is not None]


def timed(prover: Prover, one: Artifact, plain: Artifact, on: str = "local") -> float | None:
    """Return how many times as long `one` takes as `plain`: the least of three interleaved rounds.

    None where one of them does not run there.
    """
    ratios = []
    for _ in range(3):
        p50 = [prover.prove(a, on, rounds=ROUNDS).latency_ms.get("p50") for a in (one, plain)]
        if p50[0] is None or not p50[1]:
            return None
        ratios.append(p50[0] / p50[1])
    return min(ratios)


ROUNDS = 30
"""Timed inferences of one round."""


def environment() -> dict[str, str]:
    """Return what the report says of this machine; nothing that names it or its user."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
    }
