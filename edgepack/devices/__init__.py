"""Where artifacts run: one channel a file, one agent, one way to ask it for work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgepack.types import SessionSettings

if TYPE_CHECKING:
    from edgepack.types import Tensors


@dataclass(frozen=True)
class DeviceInfo:
    """What a channel leads to.

    Attributes:
        cpu: the processor's name, e.g. ``cortex-a72``.
        arch: ``aarch64`` or ``x86_64``.
        features: the instruction-set features that matter to us, e.g. ``asimddp``.
        runtime: e.g. ``onnxruntime 1.31.1``.
        emulator: e.g. ``qemu 7.2.22``; empty on real hardware.
        digest: SHA-256 over all that decides an answer (CPU, emulator, runtime, agent, plugin).
    """

    cpu: str
    arch: str
    features: tuple[str, ...]
    runtime: str
    emulator: str
    digest: str


@dataclass(frozen=True)
class Opening:
    """How a channel is opened.

    Attributes:
        runtime: the version of ONNX Runtime that should answer, where the channel can choose.
        offline: never use the network to set anything up.
        announce: called with one sentence before a long set-up begins.
        package: the package that is the runtime.
    """

    runtime: str
    offline: bool = False
    announce: Callable[[str], None] = lambda _: None
    package: str = "onnxruntime"


@dataclass(frozen=True)
class Outcome:
    """How the agent ended.

    Attributes:
        status: exit status; negative is a signal.
        stderr: its last words.
        counts: instructions between each pair of marks, where the channel counted.
        not_counted: why it did not, where it was asked to.
    """

    status: int
    stderr: str
    counts: tuple[int, ...] = ()
    not_counted: str = ""


class Channel(Protocol):
    """A way to a device: four verbs, and whether its clock may be believed.

    Attributes:
        name: as the user writes it, e.g. ``qemu:cortex-a72``.
        real_clock: True where wall time on it is a latency.
        counts: True where it can count executed instructions.
    """

    name: str
    real_clock: bool
    counts: bool

    def info(self) -> DeviceInfo:
        """Say what is at the other end; raises `HostError` where it cannot be reached."""

    def push(self, files: Mapping[str, Path]) -> None:
        """Copy files into the job's folder on the device, under plain names."""

    def run(self, arguments: Sequence[str], *, seconds: float, counted: bool = False) -> Outcome:
        """Run the agent with these arguments in the job's folder.

        Raises:
            DeviceFailure: with reason ``deadline`` after `seconds`.
        """

    def pull(self, name: str, to: Path) -> None:
        """Copy one file back."""

    def close(self) -> None:
        """Remove the job's folder."""


class DeviceFailure(Exception):  # noqa: N818  a finding about the artifact, not a fault of ours
    """The artifact failed on the device: a reason that a gate reports.

    Attributes:
        reason: ``crash``, ``illegal-instruction``, ``deadline``, ``error`` (the runtime refused).
        detail: the last lines that it wrote.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Job:
    """Work for a device.

    Attributes:
        model: the model file to load there.
        session: how to load it.
        vectors: inputs of each inference.
        count: count the instructions of the first vector.
        rounds: timed inferences of the first vector after a warm-up; 0 for none.
        seconds: deadline of the whole job.
    """

    model: Path
    session: SessionSettings
    vectors: Sequence[Tensors]
    count: bool = False
    rounds: int = 0
    seconds: float = 120.0


@dataclass(frozen=True)
class Answer:
    """What a device gave back for a job.

    Attributes:
        runtime: the runtime and its version as the device reports them.
        outputs: the outputs of each vector.
        instructions: executed by one inference, or None.
        not_counted: why there is no count, where one was asked for.
        latency_ns: one per timed round; empty where the clock is not real.
        memory_bytes: peak resident memory of the agent, or None.
    """

    runtime: str
    outputs: Sequence[dict[str, Any]]
    instructions: int | None = None
    not_counted: str = ""
    latency_ns: tuple[int, ...] = ()
    memory_bytes: int | None = None
