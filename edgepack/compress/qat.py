"""Trains the model with its weights, and what flows between layers, at few levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgepack.base import Context, ModelPass
from edgepack.compress.schedule import Training
from edgepack.types import Width

if TYPE_CHECKING:
    from edgepack.model import Model


class Qat(Training, ModelPass):
    """Train with quantised weights, so that few levels cost little (quantisation-aware training).

    Weights of linear layers and convolutions are rounded to `width` wherever they are used:
    `binary` has 2 levels, `ternary` 3, `w2` 4, `w4` 16, `w8` 256. Gradients pass through the
    rounding, and the distance of levels is learned for each channel: Esser et al., Learned Step
    Size Quantization (ICLR 2020, arXiv 1902.08153); binary weights are scaled by their mean
    magnitude (Rastegari et al., XNOR-Net, arXiv 1603.05279). With `w8` what flows between layers
    has 256 levels as well, and the target computes in integers. The model as it comes in teaches
    along, and batch norms end in the layers before them. `quantize` stores what was learned.
    """

    name: ClassVar[str] = "qat"
    needs = frozenset({"train"})
    from_target: ClassVar[dict[str, str]] = {"narrow": "quantize.reduce_range"}

    epochs: int = Field(20, ge=1, description="times that the training data is gone through")
    width: Width = Field("w8", description="how many levels a weight has")
    activations: Literal["auto", "w8", "float"] = Field(
        "auto",
        description="256 levels for what flows between layers, or none; `auto` is `w8` beside "
        "weights of `w8`, and `float` beside others",
    )
    distil: float = Field(
        0.5, ge=0, le=1, description="weight of the incoming model's answers beside the labels"
    )
    temperature: float = Field(4.0, gt=0, description="softens both answers before they are held")
    keep: tuple[str, ...] = Field(
        (), description="patterns of module names (`*` and `?`) that stay float"
    )
    narrow: bool = Field(
        False,
        description="7 bits for weights of `w8`, for processors whose 16-bit sums would saturate",
    )

    @property
    def rounds_activations(self) -> bool:
        """Whether what flows between layers has levels, too."""
        return self.activations == "w8" or (self.activations == "auto" and self.width == "w8")

    def apply(self, model: Model, context: Context) -> Model:
        """Return the model with weights at their levels, which its `grids` tell.

        Raises:
            ModelError: E479 when no layer can be trained so, E434 when the loss is no longer a
                number.
            UsageError: E264 to E266 when the training data does not fit the model.
            HostError: E325 when a log is asked for and tensorboard is missing.
        """
        from edgepack.compress.fake.learn import learn

        return learn(model, self, context)
