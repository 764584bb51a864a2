"""Sets single weights to zero."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgepack.base import Context, ModelPass
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model


class ThinnedLayer(Frozen):
    """How many weights a layer has, and the shares of them that are zero, before and after."""

    weights: int
    before: float
    after: float


class Thinning(Frozen):
    """Where zeros were put, and what a compressed download gains.

    Attributes:
        layers: by name.
        spared: what was left alone, with the reason.
        before, after: share of zeros among all weights of the layers.
        of_model: share of zeros among all parameters of the model, after.
        compressed_before, compressed_after: bytes of all parameters as float32 behind zlib at
            level 6.
    """

    layers: dict[str, ThinnedLayer]
    spared: dict[str, str]
    before: float
    after: float
    of_model: float
    compressed_before: int
    compressed_after: int


class PruneWeights(ModelPass):
    """Set the single weights that matter least to zero; the model keeps its structure.

    ONNX Runtime multiplies by zeros as by any other number: latency and the file stay as they are,
    and only a compressed download shrinks. Biases and norms are never touched. Fine-tuning
    afterwards fills the zeros again: prune weights after it.
    """

    name: ClassVar[str] = "prune-weights"
    reads = frozenset({"train", "calibration"})

    method: Literal["magnitude", "gradient", "movement", "wanda", "sparsegpt"] = Field(
        "magnitude",
        description="`magnitude`, `gradient` (of the loss), `movement` (away from zero in a short "
        "training, which the weights go through), `wanda` (size times input), or `sparsegpt` "
        "(zeros that the other weights make up for)",
    )
    ratio: float = Field(
        0, ge=0, lt=1, description="share of the weights to zero; 0 where `pattern` says it"
    )
    scope: Literal["layer", "global"] = Field(
        "layer",
        description="weights compete within their layer, those of embeddings within their word, or "
        "all of them (only by `magnitude`, `gradient` and `movement`)",
    )
    pattern: str = Field(
        "", description="such as `2:4`: of each 4 consecutive weights of an output, 2 stay"
    )
    embeddings: bool = Field(
        False,
        description="embeddings, too (only by `magnitude`, `gradient` and `movement`)",
    )
    keep: tuple[str, ...] = Field(
        (), description="names of layers to spare; `*` and `?` stand for letters"
    )
    samples: int = Field(
        512, ge=1, description="most samples to look at, by `gradient`, `wanda` and `sparsegpt`"
    )
    epochs: int = Field(2, ge=1, description="of the training of `movement`")
    learning_rate: float = Field(1e-4, gt=0, description="of the training of `movement`")
    batch_size: int = Field(32, ge=1, description="of the training of `movement`")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if bool(self.ratio) == bool(self.pattern):
            raise ValueError("give either `ratio` or `pattern`")
        if self.pattern:
            read = re.fullmatch(r"([1-9]\d?):([1-9]\d?)", self.pattern)
            if not read or int(read[1]) >= int(read[2]):
                raise ValueError(f"`pattern` is `{self.pattern}`, and must be such as `2:4`")
            if self.scope == "global":
                raise ValueError("a pattern holds within a layer: leave out `scope`")
        if self.method in {"wanda", "sparsegpt"} and (self.scope == "global" or self.embeddings):
            raise ValueError(f"`{self.method}` goes by layers that have inputs, one at a time")
        return self

    @property
    def run(self) -> tuple[int, int]:
        """How many weights stay, of how many: what the pattern says."""
        stay, _, of = self.pattern.partition(":")
        return int(stay), int(of)

    def apply(self, model: Model, context: Context) -> Model:
        """Choose the weights that matter least and zero them.

        Raises:
            UsageError: E227 without the data that the method needs, E263 when a name under
                `keep` fits no layer, E264 to E266 when the data does not fit the model.
            ModelError: E434 when training diverges, E463 when no layer is left to prune, E465 when
                what a layer is fed is not finite.
        """
        from edgepack.compress.zeros import thin

        return thin(model, self, context)
