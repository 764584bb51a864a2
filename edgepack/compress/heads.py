"""Removes attention heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgepack.base import Context, ModelPass
from edgepack.types import Frozen, Heads

if TYPE_CHECKING:
    from edgepack.model import Model


class PrunedAttention(Frozen):
    """One attention module: how many heads read keys and values of their own, before and after."""

    before: int
    after: int


class HeadPruning(Frozen):
    """What is cut, layer by layer; the heads themselves are left out of the report."""

    layers: dict[str, PrunedAttention]
    cuts: tuple[Heads, ...] = Field(exclude=True)


class PruneHeads(ModelPass):
    """Remove the attention heads that matter least, with their queries, keys and values.

    A head's gate is a factor of one on what it gives; `gradient` is how much the loss would change
    with that factor: Michel et al., Are Sixteen Heads Really Better than One? (NeurIPS 2019, arXiv
    1905.10650). Where several queries read the same keys and values they go together.
    """

    name: ClassVar[str] = "prune-heads"
    reads = frozenset({"train"})

    ratio: float = Field(gt=0, lt=1, description="share of the heads to remove")
    criterion: Literal["gradient", "l2", "random"] = Field(
        "gradient", description="what tells how much a head matters"
    )
    scope: Literal["layer", "global"] = Field(
        "global", description="a share of all layers together, or the same share of each layer"
    )
    keep: tuple[str, ...] = Field(
        (), description="names of attention modules to spare; `*` and `?` stand for letters"
    )
    samples: int = Field(256, ge=1, description="training samples that `gradient` looks at")
    compensate: Literal["", "width", "depth"] = Field(
        "", description="give the work that was saved back as wider or more layers"
    )

    def apply(self, model: Model, context: Context) -> Model:
        """Decide which heads go, and cut them.

        Raises:
            ModelError: E467 when there is no attention that is known, nothing left to prune, or
                something else that counts the heads; E469 when `compensate` finds nothing to grow.
            UsageError: E263 when a name under `keep` fits no attention, E227 when `gradient` has no
                data, E264 to E266 when the data does not fit the model.
        """
        from edgepack.compress.gates import pruned

        return pruned(model, self, context)
