"""The options that every pass that trains has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model.fit import Schedule


class Training(Frozen):
    """How long and how fast to train; mixed into a pass."""

    epochs: int = Field(4, ge=1, description="times that the training data is gone through")
    learning_rate: float = Field(
        1e-3, gt=0, description="at its highest; it falls to zero along half a cosine"
    )
    batch_size: int = Field(64, ge=1, description="samples a step, of all processes together")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="what makes the steps")
    weight_decay: float = Field(0.0, ge=0, description="pulls weights towards zero")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps that the rate rises for")
    clip: float = Field(0.0, ge=0, description="largest norm of the gradient; 0 for any")
    accumulate: int = Field(
        1, ge=1, description="parts that a batch is computed in, to save memory"
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="what products are computed in; weights stay float32"
    )
    hold_out: float = Field(
        0.0, ge=0, lt=1, description="share of the training data that judges each epoch instead"
    )
    patience: int = Field(
        0, ge=0, description="epochs without a better held-out loss before it stops; 0 for never"
    )
    threads: int = Field(
        1, ge=1, description="of one process; a number of them gives the same weights each time"
    )
    checkpoint_every: int = Field(
        0,
        ge=0,
        description="steps between checkpoints that a killed build goes on from; 0 for none",
    )
    log: str = Field("", description="folder for TensorBoard, or nothing")

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.patience and not self.hold_out:
            raise ValueError("`patience` needs `hold_out`, by which an epoch is judged")
        return self

    def schedule(self) -> Schedule:
        """Return the options as the training loop takes them."""
        from edgepack.model.fit import Schedule

        return Schedule(**{name: getattr(self, name) for name in Training.model_fields})
