"""Says from which layer on a device computes otherwise: cuts the model shorter until it agrees."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepack.artifact.format import MODEL
from edgepack.base import Events, Runner
from edgepack.child import call
from edgepack.devices import Channel, DeviceFailure, Job
from edgepack.devices.work import execute
from edgepack.graph import Graph
from edgepack.graph.agreement import Agreement, agreement
from edgepack.graph.difference import Difference
from edgepack.graph.prefix import cuts, layers, prefix
from edgepack.types import SessionSettings, Tolerance

if TYPE_CHECKING:
    from edgepack.artifact import Artifact
    from edgepack.types import Array, Tensors

RUNS, SECONDS = 10, 120.0
"""How often a device is asked at most, and for how long in all."""
ROUNDED = 1e-5
"""Relative difference of floats that is none: a cut may leave a float kernel where the whole model
has an integer one, and float kernels of two processors differ by rounding."""


def explain_device(artifact: Artifact, channel: Channel, runner: Runner, events: Events) -> str:
    """Return a sentence on the first layer whose values on the device are wrong.

    It is empty where nothing can be said; an explanation that fails is none.
    """
    try:
        return str(first_on_device(artifact, channel, runner, events) or "")
    except Exception as problem:  # noqa: BLE001  the verdict is the news, whatever fails here
        events.note(f"which layer it is could not be found: {problem}")
        return ""


def first_on_device(
    artifact: Artifact,
    channel: Channel,
    runner: Runner,
    events: Events,
    *,
    runs: int = RUNS,
    seconds: float = SECONDS,
) -> Difference | None:
    """Find the first layer on which a device and the golden session differ, by bisection.

    1. Run the whole model there on all golden vectors; go on with the one that is worst.
    2. Halve the layers: a prefix ends at the middle one and answers every tensor that is read
       beyond it, so that it differs if and only if something up to there does.
    3. The layer before the one that is found has agreed, all its neighbours with it.

    Args:
        artifact: what failed; its model passes the gate once more before it is cut.
        channel: where it failed.
        runner: computes what is right, as the golden outputs were computed.
        events: takes progress.
        runs: jobs on the device at most.
        seconds: when to stop.

    Raises:
        ModelError: when a prefix does not run here.
        DeviceFailure, HostError: when the device fails at once.
    """
    search = _Search(artifact, channel, runner, time.monotonic() + seconds)
    golden = artifact.vectors()
    answers = search.there(search.graph, [inputs for inputs, _ in golden])
    held = [
        search.differing(outputs, got) for (_, outputs), got in zip(golden, answers, strict=True)
    ]
    if not any(held):
        return None
    worst = max(
        range(len(golden)), key=lambda i: max((a.relative for a in held[i].values()), default=0)
    )
    feed = golden[worst][0]
    places = cuts(search.graph)
    index = {layer.tensor: place for place, layer in enumerate(places)}
    least, most, found = -1, len(places), next(iter(held[worst].items()))
    short, total = "", min(runs, len(places).bit_length())
    done = 1
    while most - least > 1:
        if done >= runs or time.monotonic() > search.end:
            short = f"{done} runs on {channel.name}"
            break
        events.progress(f"explain {channel.name}", min(done, total), total)
        done += 1
        middle = (least + most) // 2
        try:
            apart = search.at(places[middle].tensor, feed)
        except DeviceFailure as problem:
            short = f"{channel.name} fails on a part of the model: {problem.reason}"
            break
        new = {index[n]: (n, a) for n, a in apart.items() if index.get(n, -1) > least}
        if new:
            most = min(new)
            found = new[most]
        else:
            least = middle
    events.progress(f"explain {channel.name}", total, total)
    known = {layer.tensor: layer for layer in layers(search.graph)}
    return Difference(
        **known[found[0]]._asdict(),
        relative=found[1].relative,
        cosine=found[1].cosine,
        agreeing=least + 1,
        compared=len(places),
        cut_short=short,
    )


class _Search:
    """Runs parts of one artifact's model there and here."""

    def __init__(self, artifact: Artifact, channel: Channel, runner: Runner, end: float) -> None:
        self.end = end
        self._channel, self._runner = channel, runner
        self._there: SessionSettings = artifact.manifest.session
        self._here: SessionSettings = artifact.manifest.golden.session
        self._tolerance: Tolerance = artifact.manifest.tolerance
        with tempfile.TemporaryDirectory(prefix="edgepack-explain-") as work:
            path, folder = artifact.extract_model(Path(work)), Path(work) / "admitted"
            folder.mkdir()
            call("edgepack.graph.gate:admit_to", {"path": str(path), "folder": str(folder)})
            self.graph = Graph.load(folder)

    def at(self, tensor: str, feed: Tensors) -> dict[str, Agreement]:
        """Return what differs among the tensors of a prefix, by name."""
        cut = prefix(self.graph, tensor)
        with self._runner.open(cut, self._here) as session:
            expected = session.run(feed)
        (got,) = self.there(cut, [feed])
        return self.differing(expected, got)

    def there(self, graph: Graph, feeds: Sequence[Tensors]) -> Sequence[dict[str, Array]]:
        """Run a graph on the device."""
        with tempfile.TemporaryDirectory(prefix="edgepack-explain-") as work:
            graph.save(Path(work))
            left = max(10.0, self.end - time.monotonic())
            job = Job(Path(work) / MODEL, self._there, list(feeds), seconds=left)
            return execute(self._channel, job).outputs

    def differing(self, expected: Tensors, got: Tensors) -> dict[str, Agreement]:
        """Return the tensors that are further off than the artifact allows."""
        found = {}
        for name, value in expected.items():
            one = agreement({"": _number(value)}, {"": _number(got[name])})
            if self._tolerance.exact:
                wrong = one.relative > (ROUNDED if np.asarray(value).dtype.kind == "f" else 0)
            else:
                wrong = one.relative > self._tolerance.relative
                wrong = wrong or one.cosine < self._tolerance.cosine
            if wrong:
                found[name] = one
        return found


def _number(value: Array) -> Array:
    """Take integers for the numbers that they are: their cosine is that of their values."""
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "iu" else array
