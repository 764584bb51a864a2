"""What is done with artifacts that exist: verify, bench, load."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edgepack import __version__, publish
from edgepack.api.opened import open_for
from edgepack.api.prove import Prover, environment, interleaved, usual_channels
from edgepack.artifact import Artifact
from edgepack.base import Events, Silent
from edgepack.cache import Cache
from edgepack.data import Metric as DataMetric
from edgepack.data import resolve
from edgepack.errors import UsageError
from edgepack.graph.runner import ChildRunner
from edgepack.proof.accuracy import evaluate
from edgepack.proof.budget import Limits, Measurements, judge
from edgepack.report import Device, Metric, Report, TargetReport, worst

if TYPE_CHECKING:
    from edgepack.types import Array, Tensors


def verify(
    file: Path | str,
    *,
    on: Sequence[str] = (),
    data: str | None = None,
    metric: str | None = None,
    fresh: bool = False,
    offline: bool = False,
    events: Events | None = None,
) -> Report:
    """Check every byte of an artifact and run its golden vectors on each channel.

    Args:
        file: the artifact.
        on: channels; those of the artifact's target where empty.
        data: evaluation data to score it on, together with `metric`.
        metric: how to score it.
        fresh: answer nothing from the cache.
        offline: never use the network.
        events: takes progress.

    Raises:
        ArtifactError: when the file is not a whole, lawful artifact.
    """
    events = events or Silent()
    artifact = Artifact.open(Path(file))
    scorer = _scorer(data, metric)
    prover = Prover(Cache(publish.cache_root(), fresh=fresh, warn=events.note), events, offline)
    channels = tuple(on) or usual_channels(artifact)
    devices = tuple(prover.prove(artifact, name, asked=bool(on)) for name in channels)
    scored = _metric(artifact, data, scorer, events) if data and scorer else None
    return _report([artifact], [devices], [scored])


def bench(
    files: Sequence[Path | str],
    *,
    on: Sequence[str] = (),
    rounds: int = 50,
    offline: bool = False,
    events: Events | None = None,
) -> Report:
    """Measure or count one inference of each artifact, interleaved; see `prove.interleaved`.

    Channels are those of the first artifact's target where `on` is empty.
    """
    events = events or Silent()
    artifacts = [Artifact.open(Path(file)) for file in files]
    prover = Prover(Cache(publish.cache_root(), warn=events.note), events, offline)
    channels = tuple(on) or usual_channels(artifacts[0])
    by_channel = [interleaved(prover, artifacts, name, rounds) for name in channels]
    devices = [tuple(column) for column in zip(*by_channel, strict=True)]
    return _report(artifacts, devices, [None] * len(artifacts))


def load(file: Path | str) -> Loaded:
    """Check an artifact and return it ready to answer; its session runs in a child process."""
    return Loaded(Artifact.open(Path(file)))


class Loaded:
    """An artifact that answers: ``load(file).run({"x": array})``; close it, or use it in `with`.

    Attributes:
        artifact: what was loaded.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edgepack-load-"))
        model = artifact.extract_model(Path(folder))
        opened = ChildRunner().open(model, artifact.manifest.session)
        self._session = self._stack.enter_context(opened)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Return every output by name, for named inputs with their batch axis."""
        return self._session.run(inputs)

    def close(self) -> None:
        """End the session."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        manifest = self.artifact.manifest
        inputs, outputs = (", ".join(map(str, s)) for s in (manifest.inputs, manifest.outputs))
        return f"<{manifest.name} for {manifest.target}, {manifest.scheme}: {inputs} -> {outputs}>"


def _scorer(data: str | None, metric: str | None) -> DataMetric | None:
    """Return how to score, and refuse what cannot be before anything runs."""
    if data is None and metric is None:
        return None
    if data is None or metric is None:
        raise UsageError(
            "E245", "a metric needs data, and data a metric", fix="give both --data and --metric"
        )
    scorer = resolve(metric, Path.cwd())
    if scorer.compares:
        raise UsageError(
            "E236",
            f"`{metric}` holds a model against another, and there is one",
            fix="`edgepack compare A B` does that; or name a metric of the answers",
        )
    return scorer


def _metric(artifact: Artifact, data: str, scorer: DataMetric, events: Events) -> Metric:
    """Score an artifact the way that its golden vectors were computed: without saturation."""
    manifest = artifact.manifest
    with tempfile.TemporaryDirectory(prefix="edgepack-verify-") as work:
        folder = Path(work)
        model = artifact.extract_model(folder)
        for name in manifest.tokenizer:
            artifact.extract(name, folder / Path(name).name)
        samples = open_for(manifest, data, manifest.inputs, folder, scorer.name)
        measured = evaluate(model, samples, scorer, ChildRunner(), events, manifest.golden.session)
    return Metric(
        name=scorer.name,
        before=None,
        after=measured.value,
        after_interval=measured.interval,
        lower_is_better=measured.lower_is_better,
        relative=measured.relative,
        samples=measured.samples,
        items=measured.items,
    )


def _report(
    artifacts: Sequence[Artifact],
    devices: Sequence[tuple[Device, ...]],
    metrics: Sequence[Metric | None],
) -> Report:
    targets = [
        _target(artifact, proofs, metric)
        for artifact, proofs, metric in zip(artifacts, devices, metrics, strict=True)
    ]
    document: dict[str, Any] = {
        "edgepack": __version__,
        "name": artifacts[0].manifest.name,
        "verdict": worst([target.verdict for target in targets]),
        "targets": targets,
        "environment": environment(),
    }
    return Report.model_validate(document)


def _target(artifact: Artifact, devices: tuple[Device, ...], metric: Metric | None) -> TargetReport:
    found = Measurements(
        bytes=artifact.size, tolerance=artifact.manifest.tolerance, devices=devices
    )
    gates = judge(Limits(cosine=None), found)
    return TargetReport(
        target=artifact.manifest.target,
        verdict=worst([gate.verdict for gate in gates]),
        artifact=str(artifact.path),
        sha256=artifact.digest,
        bytes=artifact.size,
        model_bytes=artifact.model_size,
        scheme=artifact.manifest.scheme,
        metric=metric,
        gates=gates,
        devices=devices,
    )
