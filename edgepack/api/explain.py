"""Explains a finished model: what runs as integers on a device, what does not, and why."""

from __future__ import annotations

from pathlib import Path

from edgepack.api.opened import opened
from edgepack.base import Events, Silent
from edgepack.graph.examples import example_inputs, workable_sizes
from edgepack.graph.runner import ChildRunner
from edgepack.proof.integers import Explanation, explain


def explained(file: Path, events: Events | None = None) -> Explanation:
    """Load an artifact's model, or an ONNX file, as a device would, and explain it.

    Raises:
        UsageError, ArtifactError, ModelError: as `opened` and `explain`.
    """
    runner = ChildRunner()
    with opened(file, events or Silent()) as found:
        feed = found.golden[0] if found.golden else None
        if feed is None:
            sizes = workable_sizes(found.graph, runner)
            feed = example_inputs(found.graph.inputs, 0, sizes[0] if sizes else None)
        features = found.artifact.manifest.isa.features if found.artifact else ()
        return explain(found.graph, feed, runner, found.session, vnni="vnni" in features)
