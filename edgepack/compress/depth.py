"""Removes whole layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from edgepack.base import Context, ModelPass
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model


class LayerPruning(Frozen):
    """Which layers of a list go, and what each was worth; the least go."""

    layers: str
    before: int
    after: int
    dropped: tuple[int, ...]
    scores: tuple[float, ...] = ()


class PruneLayers(ModelPass):
    """Drop whole blocks of a transformer.

    `influence` is how far a block turns what flows through it, one minus the cosine between its
    input and its output: Men et al., ShortGPT (2024, arXiv 2403.03853).
    """

    name: ClassVar[str] = "prune-layers"
    reads = frozenset({"train", "calibration"})

    ratio: float = Field(0, ge=0, lt=1, description="share of the layers to drop")
    drop: tuple[int, ...] = Field((), description="the layers to drop, from 0, instead of a share")
    criterion: Literal["influence", "magnitude", "random", "alternate", "last", "first"] = Field(
        "influence", description="which layers go"
    )
    samples: int = Field(128, ge=1, description="samples that `influence` looks at")

    @model_validator(mode="after")
    def _one_of_two(self) -> PruneLayers:
        if bool(self.ratio) == bool(self.drop):
            raise ValueError("give either `ratio` or `drop`")
        return self

    def apply(self, model: Model, context: Context) -> Model:
        """Decide which layers go, and drop them.

        Raises:
            ModelError: E468 when the model has no list of layers, none would be left, or it does
                not run without those that go.
            UsageError: E227 when `influence` has no data, E266 when shapes of the data differ.
        """
        from edgepack.compress.influence import shortened

        return shortened(model, self, context)
