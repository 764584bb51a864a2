"""Removes whole channels, and all that depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgepack.base import Context, ModelPass
from edgepack.types import Cut, Frozen

if TYPE_CHECKING:
    from edgepack.model import Model


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
    """Remove the channels that matter least, in groups of layers that hang together.

    Only channels whose removal equals zeroing what reads them are removed: never a model's
    outputs, the width that a layer norm averages over, or the dimensions of attention heads.
    """

    name: ClassVar[str] = "prune"

    ratio: float = Field(gt=0, lt=1, description="share of each group's channels to remove")
    criterion: Literal["l2"] = Field("l2", description="what tells how much a channel matters")
    round_to: int = Field(8, ge=1, description="channels left are a multiple of this")
    keep: tuple[str, ...] = Field(
        (), description="names of layers to spare; `*` and `?` stand for letters"
    )

    def apply(self, model: Model, context: Context) -> Model:
        """Decide which channels go, check that they may, and cut them.

        Raises:
            ModelError: E431 when the model cannot be traced, E435 when there is nothing to prune.
            UsageError: E263 when a name under `keep` fits no layer.
        """
        from edgepack.compress.channels import decide
        from edgepack.model.edits import replay

        decision = decide(model, self)
        context.events.decision(decision)
        return replay(model, decision.cuts)
