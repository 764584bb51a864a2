"""Puts lighter blocks in the place of convolutions and activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgepack.base import Context, ModelPass
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model


class Separated(Frozen):
    """One convolution's parameters, and what its outputs lose.

    Attributes:
        before, after: parameters.
        error: length of what its outputs lose on the samples, relative to the outputs; None where
            they were not fitted.
    """

    before: int
    after: int
    error: float | None


class Replacements(Frozen):
    """What is replaced, and what is spared, with the reason for each.

    Attributes:
        convolutions: those that become separable.
        activations: how many modules of each kind changed.
        functional: kinds that the model's code still calls as functions, and how often.
        spared: the reasons.
    """

    convolutions: dict[str, Separated]
    activations: dict[str, int]
    functional: dict[str, int]
    spared: dict[str, str]


class ReplaceBlocks(ModelPass):
    """Replace convolutions by depthwise-separable ones, and activations by cheaper ones.

    A convolution of k x k places, m outputs and n inputs has n * m * k * k weights, and the kernel
    a channel with a mix of channels after it n * (k * k + m). The kernels come from the old ones,
    and the mix is fitted to what the old convolution gave, by least squares on samples, layer after
    layer. Let `finetune` follow, with `distil` to learn from the model as it came in.
    """

    name: ClassVar[str] = "replace"
    reads = frozenset({"train", "calibration"})

    convolutions: Literal["", "depthwise-separable"] = Field(
        "", description="what convolutions of several places become, if anything"
    )
    activations: dict[Literal["gelu", "silu"], Literal["relu", "hard-swish"]] = Field(
        {}, description='what activations become, such as {"gelu" = "relu"}'
    )
    channels: int = Field(
        8,
        ge=1,
        description="inputs that a convolution must have; with few, one kernel each is poor",
    )
    only: tuple[str, ...] = Field(
        (), description="names of layers to replace, all for none; `*` and `?` stand for letters"
    )
    keep: tuple[str, ...] = Field((), description="names of layers to spare, likewise")
    samples: int = Field(
        256, ge=0, description="most samples to fit the mix of channels on; 0 not to fit"
    )

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not (self.convolutions or self.activations):
            raise ValueError("give `convolutions` or `activations`")
        return self

    def apply(self, model: Model, context: Context) -> Model:
        """Decide what is replaced, replace it, and fit it to what was there.

        Raises:
            UsageError: E263 when a name under `keep` fits no layer, E264 to E266 when the data does
                not fit the model.
            ModelError: E433 when the model does not run afterwards, E486 when there is nothing to
                replace, E487 when what a convolution is fed is not finite.
        """
        from edgepack.compress.lighter import lighten

        return lighten(model, self, context)
