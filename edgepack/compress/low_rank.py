"""Puts two thin layers in the place of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgepack.base import Context, ModelPass
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model


class ThinLayer(Frozen):
    """One layer's rank, and what it gains and costs.

    Attributes:
        rank: inner width.
        before, after: parameters of its weights.
        error: length of what its outputs lose on the samples, relative to the outputs; None where
            there were no samples.
        error_svd: the same, had the plain singular value decomposition been cut at that rank.
    """

    rank: int
    before: int
    after: int
    error: float | None
    error_svd: float | None


class Ranks(Frozen):
    """The layers that become thin, and what is spared, with the reason for each."""

    layers: dict[str, ThinLayer]
    spared: dict[str, str]


class LowRank(ModelPass):
    """Replace linear layers and convolutions by pairs of thinner ones, where that saves.

    A layer of m outputs and n inputs becomes one of `rank` outputs and one of m, with the bias on
    the second: rank * (m + n) weights for m * n. A convolution of several places becomes one with
    `rank` outputs and one of a single place. Give one of `rank`, `ratio`, `energy` and `params`.
    """

    name: ClassVar[str] = "low-rank"
    reads = frozenset({"train", "calibration"})

    method: Literal["whitened", "drone", "svd"] = Field(
        "whitened",
        description="what is kept best: the outputs on calibration data (`whitened`, or `drone`, "
        "which looks at nothing else), or the weights themselves (`svd`)",
    )
    rank: int = Field(0, ge=0, description="inner width of every pair")
    ratio: float = Field(0, ge=0, lt=1, description="share of each layer's weights that is left")
    energy: float = Field(
        0, ge=0, lt=1, description="share of the squared outputs that each layer keeps at least"
    )
    params: int = Field(
        0, ge=0, description="parameters of the whole model that are left, given to where they help"
    )
    keep: tuple[str, ...] = Field(
        (), description="names of layers to spare; `*` and `?` stand for letters"
    )
    samples: int = Field(512, ge=1, description="most samples to look at")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if sum(map(bool, (self.rank, self.ratio, self.energy, self.params))) != 1:
            raise ValueError("give one of `rank`, `ratio`, `energy` and `params`")
        return self

    def apply(self, model: Model, context: Context) -> Model:
        """Decide the ranks, and replace what becomes smaller.

        Raises:
            UsageError: E227 without the data that the method needs, E263 when a name under `keep`
                fits no layer, E264 to E266 when the data does not fit the model.
            ModelError: E433 when the model does not run with pairs, E464 when no layer would become
                smaller, E465 when what a layer is fed is not finite, E466 when `params` is less
                than can be reached.
        """
        from edgepack.compress.thin import thin

        return thin(model, self, context)
