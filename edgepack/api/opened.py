"""A finished model on disk, artifact or ONNX file, opened alike: through the gate, ready to run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from edgepack.artifact import Artifact
from edgepack.artifact.format import MODEL
from edgepack.base import Context, Events
from edgepack.data import open_data
from edgepack.errors import ArtifactError, UsageError
from edgepack.graph.runner import ChildRunner
from edgepack.source.onnx import OnnxSource
from edgepack.spec.recipe import DataTable
from edgepack.types import EXACT_INT8, Samples, SessionSettings, TensorSpec, file_digest

if TYPE_CHECKING:
    from edgepack.artifact.manifest import Manifest
    from edgepack.graph import Graph
    from edgepack.types import Tensors


@dataclass(frozen=True)
class Opened:
    """A model that can be run here and sent to a device.

    Attributes:
        path: the file as the user named it.
        kind: what it is.
        artifact: what was opened; None for an ONNX file.
        graph: its model, as the gate rewrote it.
        model: the ``.onnx`` file itself.
        folder: where the model and its tokenizer lie.
        sha256: of the artifact as it names itself, or of the ONNX file.
        bytes: of the file.
    """

    path: Path
    kind: Literal["artifact", "onnx"]
    artifact: Artifact | None
    graph: Graph
    model: Path
    folder: Path
    sha256: str
    bytes: int

    @cached_property
    def golden(self) -> tuple[Tensors, ...]:
        """The golden inputs; none for an ONNX file."""
        vectors = self.artifact.vectors() if self.artifact else []
        return tuple(inputs for inputs, _ in vectors)

    @property
    def exact(self) -> SessionSettings:
        """How it is loaded here to give the answers that are right."""
        if self.artifact is None:
            return SessionSettings(entries=EXACT_INT8)
        return self.artifact.manifest.golden.session

    @property
    def session(self) -> SessionSettings:
        """How it is loaded on a device."""
        return SessionSettings() if self.artifact is None else self.artifact.manifest.session

    @property
    def runtime(self) -> str:
        """The version of ONNX Runtime that should run it."""
        made_for = self.artifact.manifest.runtime.maximum if self.artifact else ""
        return made_for or version("onnxruntime")

    @property
    def package(self) -> str:
        """The package that should run it."""
        return self.artifact.manifest.runtime.package if self.artifact else "onnxruntime"


@contextmanager
def opened(path: Path, events: Events) -> Iterator[Opened]:
    """Open an artifact, or a file whose name ends in ``.onnx``; nothing of it is executed.

    Raises:
        UsageError: E220 for what is neither.
        ArtifactError: E600 to E622 for an artifact that is not whole and lawful.
        ModelError: E400 to E416 as `OnnxSource.load`.
    """
    if not path.is_file():
        raise UsageError(
            "E220",
            f"there is no file {path.name}",
            where=str(path),
            fix="name an .edgepack or .onnx file",
        )
    with tempfile.TemporaryDirectory(prefix="edgepack-open-") as work:
        folder = Path(work)
        artifact = None if path.suffix == ".onnx" else Artifact.open(path)
        model = path
        if artifact is not None:
            model = artifact.extract_model(folder)
            for name in artifact.manifest.tokenizer:
                artifact.extract(name, folder / Path(name).name)
        graph = OnnxSource(model).load(Context(folder, 0, {}, ChildRunner(), events))
        yield Opened(
            path=path,
            kind="onnx" if artifact is None else "artifact",
            artifact=artifact,
            graph=graph,
            model=folder / "admitted" / MODEL if artifact is None else model,
            folder=folder,
            sha256=file_digest(path) if artifact is None else artifact.digest,
            bytes=path.stat().st_size,
        )


def open_for(
    manifest: Manifest | None,
    data: str,
    inputs: tuple[TensorSpec, ...],
    tokenizer: Path,
    metric: str = "",
) -> Samples:
    """Open data, relative to this folder, the way that an artifact says it was prepared.

    Raises:
        ArtifactError: E631 for preprocessing of a kind that is not known.
        UsageError: as `open_data`.
    """
    operations = manifest.preprocessing if manifest else ()
    try:
        table = DataTable.model_validate({one.op: one.options for one in operations})
    except ValidationError as problem:
        raise ArtifactError(
            "E631",
            "the artifact's preprocessing is of a kind that is not known",
            why=str(problem.errors()[0]["msg"]),
            fix="score it with a newer edgepack, or give inputs as arrays: a .npz file",
        ) from problem
    return open_data(
        data,
        Path.cwd(),
        inputs=lambda: inputs,
        tokenizer=tokenizer,
        state=manifest.state if manifest else {},
        table=table,
        classes=".py:" not in metric,
    )
