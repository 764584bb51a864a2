"""Trains the model on, to win back what compression cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgepack.base import Context, ModelPass

if TYPE_CHECKING:
    from edgepack.model import Model


class Finetune(ModelPass):
    """Train all weights on the training data, repeatably from the seed.

    Whole numbers as labels are classes (cross-entropy); floats are values (mean square error).
    """

    name: ClassVar[str] = "finetune"
    needs = frozenset({"train"})

    epochs: int = Field(4, ge=1, description="times that the training data is gone through")
    learning_rate: float = Field(
        1e-3, gt=0, description="at the first step; it falls to zero along half a cosine"
    )
    batch_size: int = Field(64, ge=1, description="samples a step")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="what makes the steps")

    def apply(self, model: Model, context: Context) -> Model:
        """Return the model after training.

        Raises:
            UsageError: E264 to E266 when the training data does not fit the model.
            ModelError: E434 when the loss is no longer a number.
        """
        from edgepack.compress.train import train
        from edgepack.model.fit import Schedule

        schedule = Schedule(self.epochs, self.learning_rate, self.batch_size, self.optimizer)
        context.events.decision({"samples": len(context.data["train"])})
        return train(model, context.data["train"], schedule, context)
