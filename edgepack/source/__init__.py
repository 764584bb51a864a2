"""How a model comes in: one kind of source a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from edgepack.types import Asset, Samples, Split

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.graph import Graph
    from edgepack.model import Model


class Source(Protocol):
    """A model before it is loaded: what can be known of it without torch, onnx or onnxruntime.

    Attributes:
        name: a short name for files, such as the folder's or file's stem.
        gives: the kind of value that `load` returns.
        digest: SHA-256 over all that decides what `load` returns.
        data: splits that the source brings with it, used where the user names none.
        metric: the metric that goes with them, or an empty string.
    """

    name: str
    gives: Literal["model", "graph"]
    digest: str
    data: Mapping[Split, Samples]
    metric: str

    @property
    def tokenizer(self) -> Path | None:
        """The folder that holds ``tokenizer.json``, or None."""

    @property
    def assets(self) -> tuple[Asset, ...]:
        """Files that travel into the artifact."""

    def load(self, context: Context) -> Model | Graph:
        """Load the model; refuses with a `ModelError`."""

    def fresh(self, context: Context) -> Model | Graph:
        """Return the same structure with any weights, for a cached value to fill in."""
