"""Trains a transformer to do without any of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from edgepack.base import Context, ModelPass
from edgepack.compress.schedule import Training

if TYPE_CHECKING:
    from edgepack.model import Model


class LayerDrop(Training, ModelPass):
    """Train on while blocks are left out at random, so that dropping some later costs less.

    Fan et al., Reducing Transformer Depth on Demand with Structured Dropout (ICLR 2020, arXiv
    1909.11556). It prepares `prune-layers`; nothing is removed here.
    """

    name: ClassVar[str] = "layer-drop"
    needs = frozenset({"train"})

    rate: float = Field(0.2, gt=0, lt=1, description="chance that a block is left out in a step")

    def apply(self, model: Model, context: Context) -> Model:
        """Return the model after training.

        Raises:
            ModelError: E449 when the model has no list of layers, E434 when training diverges.
            UsageError: E264 to E266 when the training data does not fit the model.
        """
        from edgepack.compress.skipping import trained_to_skip

        return trained_to_skip(model, self, context)
