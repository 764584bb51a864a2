"""Removes whole channels, and all that depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from edgepack.base import Context, ModelPass
from edgepack.types import Cut, Frozen

if TYPE_CHECKING:
    from edgepack.model import Model

BUDGETS = ("macs", "params", "size")


class PrunedGroup(Frozen):
    """Channels of one group of layers, before and after; `layers` lose outputs."""

    layers: tuple[str, ...]
    before: int
    after: int


class Pruning(Frozen):
    """What is cut and what is spared, with the reason for each.

    `cuts` are the channels themselves; they are left out of the report, and live in the model.
    """

    groups: tuple[PrunedGroup, ...]
    spared: dict[str, str]
    cuts: tuple[Cut, ...] = Field(exclude=True)


class Prune(ModelPass):
    """Remove the channels and neurons that matter least, in groups of layers that hang together.

    Only channels whose removal equals zeroing what reads them are removed: never a model's
    outputs, the width that a layer norm averages over, or the dimensions of attention heads. In a
    transformer that leaves the inner width of its feed-forward layers. Exactly one of `ratio`,
    `macs`, `params` and `size` says how much goes.
    """

    name: ClassVar[str] = "prune"
    version: ClassVar[int] = 2
    reads = frozenset({"train", "calibration"})

    macs: float | None = Field(
        None, gt=0, lt=1, description="share of the multiply-adds that may be left, at most"
    )
    params: float | None = Field(
        None, gt=0, lt=1, description="share of the parameters that may be left, at most"
    )
    size: float | None = Field(
        None, gt=0, lt=1, description="share of the weights' bytes that may be left, at most"
    )
    ratio: float | None = Field(
        None, gt=0, lt=1, description="share of the channels to remove", validate_default=True
    )
    criterion: Literal["l1", "l2", "taylor", "obd", "activation", "batch-norm", "random"] = Field(
        "l2", description="what tells how much a channel matters"
    )
    scope: Literal["layer", "global"] = Field(
        "layer",
        description="whether each group loses the same share, or the least of all groups go",
    )
    per_layer: dict[str, float] = Field(
        {}, description="names of layers, as under `keep`, and the ratios that they have instead"
    )
    keep: tuple[str, ...] = Field(
        (), description="names of layers to spare; `*` and `?` stand for letters"
    )
    round_to: int = Field(8, ge=1, description="channels left are a multiple of this")
    steps: int = Field(
        1, ge=1, le=100, description="rounds in which it is cut; each judges what is left anew"
    )
    samples: int = Field(
        512, ge=1, description="samples that a criterion looks at, if it looks at data, at most"
    )

    @field_validator("ratio")
    @classmethod
    def _one_measure(cls, ratio: float | None, info: ValidationInfo) -> float | None:
        given = [name for name in BUDGETS if info.data.get(name) is not None]
        if len(given) + (ratio is not None) != 1:
            raise ValueError("exactly one of ratio, macs, params and size says how much goes")
        return ratio

    @field_validator("per_layer")
    @classmethod
    def _shares(cls, ratios: dict[str, float]) -> dict[str, float]:
        if not all(0 <= ratio < 1 for ratio in ratios.values()):
            raise ValueError("a ratio is a share from 0 to less than 1")
        return ratios

    def apply(self, model: Model, context: Context) -> Model:
        """Decide which channels go, check that they may, and cut them.

        Raises:
            ModelError: E431 when the model cannot be traced, E435 when there is nothing to prune,
                E460 when a budget cannot be met, E461 when scores are no numbers.
            UsageError: E227 when a criterion lacks its data, E263 when a name under `keep` or
                `per_layer` fits no layer, E264 to E266 when the data does not fit the model.
        """
        from edgepack.compress.channels import decide
        from edgepack.model.edits import replay
        from edgepack.model.run import one_thread

        with one_thread():
            decision = decide(model, self, context)
            context.events.decision(decision)
            return replay(model, decision.cuts)
