"""Trains the model on, to win back what compression cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from edgepack.base import Context, ModelPass
from edgepack.compress.schedule import Training

if TYPE_CHECKING:
    from edgepack.model import Model


class Finetune(Training, ModelPass):
    """Train all weights on the training data, repeatably from the seed.

    Whole numbers as labels are classes (cross-entropy); floats are values (mean square error); a
    decoder without labels learns the token that follows. With `distil` the model as it came in
    teaches along: its answers, softened by `temperature`, weigh that much beside the labels.
    """

    name: ClassVar[str] = "finetune"
    needs = frozenset({"train"})

    distil: float = Field(
        0.0, ge=0, le=1, description="weight of the uncompressed model's answers beside the labels"
    )
    temperature: float = Field(4.0, gt=0, description="softens both answers before they are held")
    keep_zeros: bool = Field(False, description="let weights that are zero stay so")

    def apply(self, model: Model, context: Context) -> Model:
        """Return the model after training.

        Raises:
            UsageError: E264 to E266 when the training data does not fit the model.
            ModelError: E434 when the loss is no longer a number.
            HostError: E325 when a log is asked for and tensorboard is missing.
        """
        from edgepack.compress.recover import recover

        return recover(model, self, context)
