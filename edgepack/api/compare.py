"""Holds two finished models side by side: what they weigh, cost, score and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from pydantic import Field

from edgepack import __version__
from edgepack.api.opened import Opened, open_for, opened
from edgepack.base import Events, Silent
from edgepack.data import resolve
from edgepack.devices import DeviceFailure, Job
from edgepack.devices.open import open_channel
from edgepack.devices.work import execute
from edgepack.errors import HostError, MeasurementError, ModelError, UsageError
from edgepack.graph.agreement import agreement, flipped
from edgepack.graph.difference import Apart
from edgepack.graph.examples import example_inputs, workable_sizes
from edgepack.graph.products import multiply_adds
from edgepack.graph.runner import ChildRunner
from edgepack.proof.accuracy import evaluate
from edgepack.proof.explain import profile
from edgepack.types import Frozen, TensorSpec

if TYPE_CHECKING:
    from edgepack.types import Samples, Tensors

MOST = 16
"""Inputs on which answers are compared."""
ROUNDS = 30
SCORES = ("logit", "prob", "score", "class")
"""Words in an output's name that say that its largest element is an answer."""

Given: TypeAlias = Literal["golden", "data", "made up"]


class Work(Frozen):
    """One inference on one channel: counted under emulation, measured on a real clock."""

    on: str
    instructions: int | None = None
    latency_ms: float | None = None
    why: str = ""


class Side(Frozen):
    """One of the two.

    Attributes:
        file: as it was named.
        sha256: of the artifact as it names itself, or of the ONNX file.
        bytes: of the file.
        multiply_adds: of one inference, from the shapes on the first input; None where it does
            not run.
        metric: its points on the data; None where none was asked for.
        work: one entry a channel.
    """

    file: str
    kind: Literal["artifact", "onnx"]
    sha256: str
    bytes: int
    scheme: str
    target: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    nodes: int
    multiply_adds: int | None = None
    metric: float | None = None
    work: tuple[Work, ...] = ()


class Answers(Frozen):
    """How the second answers beside the first.

    Attributes:
        inputs: where they are from.
        samples: how many.
        exact: how many were answered alike to the byte.
        cosine: mean over the samples; `cosine_worst` the smallest.
        relative: largest difference over the largest magnitude of that output; None where a shape
            or type differs, or a value is not finite.
        flips: samples whose largest score is another; None where no output is known for scores.
    """

    inputs: Given
    samples: int
    exact: int
    cosine: float
    cosine_worst: float
    relative: float | None
    flips: int | None


class Comparison(Frozen):
    """Two models side by side (`edgepack.compare/1`); nothing is judged.

    Attributes:
        sides: the first and the second.
        interface: in what their inputs and outputs differ; answers are not compared then.
        answers: None where they were not compared; `why` says why.
        metric: its name, and `samples` how many it stands on.
        layers: where asked for, each layer that both have under one name, in order of computing.
    """

    schema_: Literal["edgepack.compare/1"] = Field("edgepack.compare/1", alias="schema")
    edgepack: str
    sides: tuple[Side, Side]
    interface: tuple[str, ...] = ()
    answers: Answers | None = None
    why: str = ""
    metric: str = ""
    samples: int = 0
    layers: tuple[Apart, ...] = ()

    def to_json(self) -> str:
        """Return the one JSON document that machines read."""
        return self.model_dump_json(by_alias=True, indent=2)


def compare(
    first: Path | str,
    second: Path | str,
    *,
    on: Sequence[str] = (),
    data: str | None = None,
    metric: str | None = None,
    layers: bool = False,
    offline: bool = False,
    events: Events | None = None,
) -> Comparison:
    """Compare two artifacts, two ONNX files, or one with the other.

    Args:
        first: what the second is held against.
        second: the other.
        on: channels to run one inference of each on.
        data: data to answer and, with `metric`, to score; else the golden inputs of the first that
            has them, else inputs made up.
        metric: how to score.
        layers: compare inner layers too.
        offline: never use the network.
        events: takes progress.

    Raises:
        UsageError: E220 for what is no model, E221 for a metric without data; E248 for a channel.
        ArtifactError, ModelError: for a file that is refused.
    """
    if metric and not data:
        raise UsageError("E221", "a metric needs data to stand on", fix="give --data as well")
    with ExitStack() as stack:
        events = events or Silent()
        pair = tuple(stack.enter_context(opened(Path(f), events)) for f in (first, second))
        return _Comparing(pair[0], pair[1], events, offline).run(on, data, metric, layers)


class _Comparing:
    """One comparison's work."""

    def __init__(self, a: Opened, b: Opened, events: Events, offline: bool) -> None:
        self._pair = (a, b)
        self._events, self._offline, self._runner = events, offline, ChildRunner()

    def run(
        self, on: Sequence[str], data: str | None, metric: str | None, layers: bool
    ) -> Comparison:
        """Measure everything that was asked for."""
        a, b = self._pair
        apart = interface(a.graph.inputs, b.graph.inputs, "input")
        takes = not apart
        apart += interface(a.graph.outputs, b.graph.outputs, "output")
        samples = [self._samples(side, data, metric) if data else None for side in self._pair]
        # Where both take the same, both get the same, the golden inputs of either for choice.
        order = sorted((0, 1), key=lambda i: not (takes and self._pair[i].golden))
        feeds = [self._feeds(self._pair[order[0]], samples[order[0]])] * 2
        if not takes:
            feeds[1] = self._feeds(b, samples[1])
        points: list[tuple[float, int] | None] = [None, None]
        if metric:
            points = [self._score(s, d, metric) for s, d in zip(self._pair, samples, strict=True)]
        sides = [
            self._side(side, feed, point and point[0], on)
            for side, (_, feed), point in zip(self._pair, feeds, points, strict=True)
        ]
        why = "their inputs or outputs differ" if apart else ""
        why = why or ("" if feeds[0][1] else "no input was found on which they run")
        answers = None if why else self._answers(*feeds[0])
        compared: tuple[Apart, ...] = ()
        if layers and takes and feeds[0][1]:
            inner = profile(a.graph, b.graph, feeds[0][1][:4], self._runner, self._events)
            compared = inner.layers
        document = {
            "edgepack": __version__,
            "sides": tuple(sides),
            "interface": apart,
            "answers": answers,
            "why": why,
            "metric": metric or "",
            "samples": points[0][1] if points[0] else 0,
            "layers": compared,
        }
        return Comparison.model_validate(document)

    def _samples(self, side: Opened, data: str, metric: str | None) -> Samples:
        """Open the data as the artifact that is one of the two, or both, was made for."""
        manifests = [s.artifact.manifest for s in (side, *self._pair) if s.artifact]
        manifest = manifests[0] if manifests else None
        return open_for(manifest, data, side.graph.inputs, side.folder, metric or "")

    def _feeds(self, side: Opened, samples: Samples | None) -> tuple[Given, list[Tensors]]:
        """Return inputs for one side: the data's, its golden ones, or some that it runs on."""
        if samples is not None:
            return "data", [sample.inputs[0] for sample in islice(samples, MOST)]
        if side.golden:
            return "golden", list(side.golden)
        sizes = workable_sizes(side.graph, self._runner)
        return "made up", [
            example_inputs(side.graph.inputs, seed, s) for s in sizes for seed in range(4)
        ]

    def _side(
        self, side: Opened, feeds: Sequence[Tensors], points: float | None, on: Sequence[str]
    ) -> Side:
        facts, manifest = side.graph.facts(), side.artifact and side.artifact.manifest
        return Side(
            file=str(side.path),
            kind=side.kind,
            sha256=side.sha256,
            bytes=side.bytes,
            scheme=manifest.scheme if manifest else side.graph.scheme,
            target=manifest.target if manifest else "",
            inputs=side.graph.inputs,
            outputs=side.graph.outputs,
            parameters=facts["parameters"],
            nodes=facts["nodes"],
            multiply_adds=self._multiply_adds(side, feeds),
            metric=points,
            work=tuple(self._work(side, name, feeds) for name in on),
        )

    def _multiply_adds(self, side: Opened, feeds: Sequence[Tensors]) -> int | None:
        if not feeds:
            return None
        try:
            return multiply_adds(side.graph, feeds[0], self._runner)
        except ModelError as problem:
            self._events.note(f"the work of {side.path.name} is not counted: {problem.why}")
            return None

    def _work(self, side: Opened, on: str, feeds: Sequence[Tensors]) -> Work:
        """Run one input on a channel; what cannot run there says why."""
        channel = open_channel(
            on,
            runtime=side.runtime,
            offline=self._offline,
            announce=self._events.note,
            package=side.package,
        )
        if not feeds:
            return Work(on=on, why="no input was found on which it runs")
        rounds = ROUNDS if channel.real_clock else 0
        job = Job(side.model, side.session, feeds[:1], count=channel.counts, rounds=rounds)
        self._events.progress(f"compare {on}", 0, 1)
        try:
            answer = execute(channel, job)
        except HostError as problem:
            return Work(on=on, why=f"{problem.what}; fix: {problem.fix}")
        except DeviceFailure as problem:
            return Work(on=on, why=str(problem))
        finally:
            channel.close()
            self._events.progress(f"compare {on}", 1, 1)
        latency = float(np.median(answer.latency_ns)) / 1e6 if answer.latency_ns else None
        return Work(
            on=on,
            instructions=answer.instructions,
            latency_ms=latency,
            why=answer.not_counted,
        )

    def _score(self, side: Opened, samples: Samples | None, metric: str) -> tuple[float, int]:
        assert samples is not None
        measured = evaluate(
            side.graph,
            samples,
            resolve(metric, Path.cwd()),
            self._runner,
            self._events,
            side.exact,
            reference=self._pair[0].graph,
        )
        return measured.value, measured.samples

    def _answers(self, given: Given, feeds: Sequence[Tensors]) -> Answers:
        a, b = self._pair
        outputs = [spec.name for spec in a.graph.outputs]
        with (
            self._runner.open(a.graph, a.exact) as one,
            self._runner.open(b.graph, b.exact) as other,
        ):
            pairs = [(one.run(feed), other.run(feed)) for feed in feeds]
        if not pairs:
            raise MeasurementError("E512", "the data hold no samples", fix="give at least one")
        found = [agreement(expected, got) for expected, got in pairs]
        relative = max(one.relative for one in found)
        flips = [
            flipped(np.asarray(expected[n]), np.asarray(got[n]))
            for expected, got in pairs
            for n in outputs[:1]
        ]
        scores = any(word in outputs[0].lower() for word in SCORES) and None not in flips
        return Answers(
            inputs=given,
            samples=len(found),
            exact=sum(one.exact for one in found),
            cosine=float(np.mean([one.cosine for one in found])),
            cosine_worst=min(one.cosine for one in found),
            relative=relative if np.isfinite(relative) else None,
            flips=sum(map(bool, flips)) if scores else None,
        )


def interface(
    first: Sequence[TensorSpec], second: Sequence[TensorSpec], side: str
) -> tuple[str, ...]:
    """Say in what two interfaces differ: names, types, ranks and fixed sizes."""
    ours: Mapping[str, TensorSpec] = {spec.name: spec for spec in first}
    theirs: Mapping[str, TensorSpec] = {spec.name: spec for spec in second}
    told = [f"{side} `{n}` is in the first alone" for n in ours if n not in theirs]
    told += [f"{side} `{n}` is in the second alone" for n in theirs if n not in ours]
    for name in [n for n in ours if n in theirs]:
        a, b = ours[name], theirs[name]
        fixed = [
            (x, y)
            for x, y in zip(a.shape, b.shape, strict=False)
            if isinstance(x, int) and isinstance(y, int)
        ]
        if a.dtype != b.dtype or len(a.shape) != len(b.shape) or any(x != y for x, y in fixed):
            told.append(f"{side} `{name}`: {a} against {b}")
    return tuple(told)
