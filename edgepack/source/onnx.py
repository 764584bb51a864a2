"""An ONNX file as a source: read through our gate, in a child."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgepack.child import ChildError, Limits, call
from edgepack.errors import ModelError, UsageError
from edgepack.types import Asset, Samples, Split, digest_of, file_digest

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.graph import Graph

LIMITS = Limits(seconds=300.0, memory=12 << 30)
PATIENCE = 30.0
"""Seconds in which a model with loops must answer its smallest inputs."""


class OnnxSource:
    """A foreign ``.onnx`` file.

    Args:
        path: the file; external data must lie beside it.
        limits: of the child that reads it.
        patience: seconds in which a model with loops must answer.

    Raises:
        UsageError: E268 when there is no such file.
    """

    gives: Literal["model", "graph"] = "graph"
    tokenizer: Path | None = None
    assets: tuple[Asset, ...] = ()
    metric = ""

    def __init__(self, path: Path, limits: Limits = LIMITS, patience: float = PATIENCE) -> None:
        if not path.is_file() or path.stat().st_size == 0:
            raise UsageError(
                "E268", f"there is no model in {path.name}", fix="name an .onnx file that is there"
            )
        self.path = path
        self.name = path.stem
        self.data: Mapping[Split, Samples] = {}
        self._limits = limits
        self._patience = patience
        beside = {p.name: file_digest(p) for p in _beside(path)}
        self.digest = digest_of("onnx", file_digest(path), beside)

    def load(self, context: Context) -> Graph:
        """Check the file in a child and load what that wrote.

        Raises:
            ModelError: as `gate.receive`; E411 when the file makes the child crash, or exceed its
                time or memory; E420 to E423 when a model with loops cannot be run.
        """
        from edgepack.graph import Graph

        folder = context.work / "admitted"
        folder.mkdir()
        arguments = {"path": str(self.path.absolute()), "folder": str(folder)}
        try:
            answer = call("edgepack.graph.gate:admit_to", arguments, self._limits)
        except ChildError as problem:
            raise ModelError(
                "E411",
                f"{self.path.name} cannot be read",
                why=str(problem),
                fix="export or download the model again",
            ) from problem
        if "refused" in answer:
            raise ModelError(**answer["refused"])
        for note in answer["notes"]:
            context.events.note(note)
        graph = Graph.load(folder)
        _refuse_endless(graph, self._patience)
        return graph

    def fresh(self, context: Context) -> Graph:
        """Load the model: a graph is stored whole, so nothing fills in its weights later."""
        return self.load(context)


def _refuse_endless(graph: Graph, patience: float) -> None:
    """Run a model that loops on small inputs, so that one without an end is known at once."""
    from edgepack.graph.examples import workable_sizes
    from edgepack.graph.runner import ChildRunner

    if any(node.op_type == "Loop" for node in graph.model.graph.all_nodes()):
        workable_sizes(graph, ChildRunner(Limits(seconds=patience)))


def _beside(path: Path) -> list[Path]:
    """Find files whose names occur in a model that has external data, without parsing it.

    A file too many costs a build from the cache, never a wrong one.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"location") < 0:
            return []
        files = [p for p in sorted(path.parent.iterdir()) if p != path and p.is_file()]
        return [p for p in files if data.find(p.name.encode(errors="surrogateescape")) >= 0]
