"""The report: what was done, what was measured, and the verdict (`edgepack.report/1`)."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

from pydantic import Field

from edgepack.types import Frozen

Verdict: TypeAlias = Literal["fail", "invalid", "unverified", "pass"]
ORDER: tuple[Verdict, ...] = ("fail", "invalid", "unverified", "pass")
"""The first verdict present among a report's parts is the report's verdict."""
STATUS: dict[Verdict, int] = {"pass": 0, "fail": 1, "unverified": 3, "invalid": 5}
"""Exit status of each verdict."""


class Candidate(Frozen):
    """One way that was considered, and why it was or was not taken.

    Attributes:
        scheme: its name; ``w8a8-static (Conv)`` where only some operators are quantised.
        chosen: it is what was built.
        reason: why it was, or was not.
        bytes: of its model, what proves it left out.
        metric: its points, on the evaluation data.
        cosine: mean cosine to the model as it came in.
        instructions: counted for one inference, on the target's emulated processor.
    """

    scheme: str
    chosen: bool
    reason: str
    bytes: int | None = None
    metric: float | None = None
    cosine: float | None = None
    instructions: int | None = None


class Sensitivity(Frozen):
    """How much one layer costs when it alone is quantised.

    Attributes:
        node: its name.
        operator: what it computes.
        decibel: power of the answers over that of their error (SQNR), mean over the samples.
        cosine: mean cosine to the model as it came in.
        metric: its points, on the evaluation data.
    """

    node: str
    operator: str
    decibel: float
    cosine: float
    metric: float | None = None


class Gate(Frozen):
    """One measurement held against its limit."""

    name: str
    value: float | int | str | None
    limit: float | int | str | None
    verdict: Verdict
    why: str = ""


class Device(Frozen):
    """What one channel said of the artifact.

    Attributes:
        on: the channel, e.g. ``qemu:cortex-a72``.
        cpu: the processor the code ran on or was emulated for.
        runtime: runtime and version, e.g. ``onnxruntime 1.31.1``.
        kind: what its numbers are; emulated wall time never appears.
        verdict: whether the golden vectors came out right.
        why: the reason of any verdict other than pass.
        exact: whether every output byte equals the golden one.
        difference: largest absolute difference over all vectors and outputs, relative to the
            largest golden magnitude of that output.
        cosine: mean cosine over the vectors; `cosine_worst` the smallest.
        vectors: golden vectors that ran.
        instructions: executed by one inference (counted), or None with `not_counted` saying why.
        latency_ms: p50, p90 and p99 where measured on a real clock.
        cached: taken from an earlier verification of the same artifact on the same device.
    """

    on: str
    cpu: str = ""
    runtime: str = ""
    kind: Literal["measured", "counted", "estimated"] = "counted"
    verdict: Verdict
    why: str = ""
    exact: bool | None = None
    difference: float | None = None
    cosine: float | None = None
    cosine_worst: float | None = None
    vectors: int = 0
    instructions: int | None = None
    not_counted: str = ""
    latency_ms: dict[str, float] = {}
    memory_bytes: int | None = None
    cached: bool = False


class Metric(Frozen):
    """The metric before and after, on the same samples.

    Attributes:
        name: of the metric.
        before: value of the model as it came in.
        after: value of what was built.
        before_interval, after_interval: 95 % confidence intervals, where the metric has one.
        drop_interval: that of `drop`, paired sample by sample, where the metric has one.
        samples: how many they stand on.
        items: how many answers those hold: frames or tokens, else one a sample.
        lower_is_better: it counts mistakes.
        relative: its drop is a percentage of `before`, not a difference of points.
        why: what kept it from being measured.
    """

    name: str
    before: float | None
    after: float | None
    before_interval: tuple[float, float] | None = None
    after_interval: tuple[float, float] | None = None
    drop_interval: tuple[float, float] | None = None
    samples: int = 0
    items: int = 0
    lower_is_better: bool = False
    relative: bool = False
    why: str = ""

    @property
    def drop(self) -> float | None:
        """How much worse it is after, as `lost`; None where it was not measured twice."""
        if self.before is None or self.after is None:
            return None
        return lost(
            self.before,
            self.after,
            lower_is_better=self.lower_is_better,
            relative=self.relative,
        )


class Footprint(Frozen):
    """What a model weighs and works; None is not known.

    Attributes:
        parameters: of the torch model.
        multiply_adds: of one inference on the torch model's example.
        bytes: of its ONNX file.
        instructions: counted for one inference, on the target's emulated processor.
    """

    parameters: int | None = None
    multiply_adds: int | None = None
    bytes: int | None = None
    instructions: int | None = None


class Effect(Frozen):
    """What one step did, measured on the ONNX model exported right after it.

    Attributes:
        before: as the last step left it that could be measured; the model as it came in at first.
        after: as this step left it.
        metric: before and after this step, on the same samples.
        not_counted: why there are no instructions.
        why: what kept the step from being measured.
        notes: what the figures say of whether the step was worth it.
    """

    before: Footprint
    after: Footprint
    metric: Metric | None = None
    not_counted: str = ""
    why: str = ""
    notes: tuple[str, ...] = ()


class Step(Frozen):
    """One pass that was applied, or taken from the cache.

    Attributes:
        effect: what it did to size, work and metric; None where that is not asked of it.
    """

    name: str = Field(alias="pass")
    options: dict[str, Any] = {}
    seconds: float
    cached: bool = False
    decision: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    effect: Effect | None = None


class TargetReport(Frozen):
    """All about one target.

    Attributes:
        bytes: of the artifact.
        model_bytes: of the model in it; the rest is golden vectors, card and sample.
        float_bytes: of the model as it came in, as a float ONNX file.
        sensitivity: of layers, worst first, where it was asked which of them to leave float.
    """

    target: str
    verdict: Verdict
    artifact: str = ""
    sha256: str = ""
    bytes: int = 0
    model_bytes: int = 0
    float_bytes: int = 0
    scheme: str = ""
    steps: tuple[Step, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    metric: Metric | None = None
    gates: tuple[Gate, ...] = ()
    devices: tuple[Device, ...] = ()


class Report(Frozen):
    """What a command proves, as a value, as JSON and as an exit status.

    Attributes:
        warnings: what is wrong with the data, as far as a look through it shows.
    """

    schema_: Literal["edgepack.report/1"] = Field("edgepack.report/1", alias="schema")
    edgepack: str
    name: str
    verdict: Verdict
    targets: tuple[TargetReport, ...]
    warnings: tuple[str, ...] = ()
    environment: dict[str, str] = {}

    @property
    def status(self) -> int:
        """The exit status that this verdict stands for."""
        return STATUS[self.verdict]

    def to_json(self) -> str:
        """Return the one JSON document that machines read."""
        return self.model_dump_json(by_alias=True, indent=2)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the verdict of a whole from its parts; nothing at all is unverified."""
    return next((v for v in ORDER if v in verdicts), "unverified")


def lost(before: float, after: float, *, lower_is_better: bool, relative: bool) -> float:
    """Return how much worse a value became, negative where it became better.

    In points; where `relative`, in percent of the value before, and NaN where that is 0 and the
    value after is not.
    """
    worse = after - before if lower_is_better else before - after
    if not relative or worse == 0:
        return worse
    return 100 * worse / abs(before) if before else math.nan
