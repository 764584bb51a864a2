"""Lets weights serve several times."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgepack.base import Context, ModelPass
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model


class SharedStack(Frozen):
    """A list of layers of which the places of each group have one layer."""

    groups: tuple[tuple[int, ...], ...]
    before: int
    after: int


class Sharing(Frozen):
    """What serves several times, and what is spared, with the reason for each.

    Attributes:
        stacks: lists of layers by name, with their parameters.
        embeddings: tables that become a narrow one and a linear layer: rows, width, rank.
        tied: output layer -> embedding whose weights it has.
        clusters: layers whose weights are the values of a codebook.
        cluster_error: length of what those weights lost, over their length, as a mean.
        zipped: bytes that zlib makes of those weights, before and after.
        spared: the reasons.
        before, after: parameters of the whole model.
    """

    stacks: dict[str, SharedStack]
    embeddings: dict[str, tuple[int, int, int]]
    tied: dict[str, str]
    clusters: int
    cluster_error: float
    zipped: tuple[int, int] | None
    spared: dict[str, str]
    before: int
    after: int


class Share(ModelPass):
    """Let weights serve several times: layers, embeddings, or values.

    `layers` makes one layer of several that follow each other (ALBERT): parameters and file fall,
    work and latency do not. `embedding` makes a narrow table and a linear layer of the largest
    embedding. `tie_embeddings` lets the output layer have the embedding's weights. `clusters` sets
    each layer's weights to the values of a codebook of its own, which only makes the compressed
    download smaller. Let `finetune` follow, but for `clusters`, which training undoes.
    """

    name: ClassVar[str] = "share"

    layers: Literal["all"] | int | tuple[tuple[int, ...], ...] = Field(
        0,
        description='which layers of a list are one: `"all"`, a number of groups, or the places of '
        "each group from 0, those left out staying as they are",
    )
    init: Literal["mean", "first", "middle"] = Field(
        "mean", description="which weights of a group the one layer starts with"
    )
    embedding: int = Field(0, ge=0, description="width of the narrow table; 0 for none")
    tie_embeddings: bool = Field(
        False, description="let the output layer of a language model have the embedding's weights"
    )
    clusters: int = Field(
        0, ge=0, le=65536, description="values of each layer's codebook, such as 16; 0 for none"
    )
    keep: tuple[str, ...] = Field(
        (), description="names of layers to spare; `*` and `?` stand for letters"
    )

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not (self.layers or self.embedding or self.tie_embeddings or self.clusters):
            raise ValueError("give `layers`, `embedding`, `tie_embeddings` or `clusters`")
        if isinstance(self.layers, int) and self.layers < 0:
            raise ValueError("`layers` is a number of groups, from 1")
        if self.clusters == 1:
            raise ValueError("`clusters` is 2 or more")
        if isinstance(self.layers, tuple):
            places = [place for group in self.layers for place in group]
            if len(places) != len(set(places)) or min(places, default=0) < 0:
                raise ValueError("a place of `layers` is in one group, and counted from 0")
        return self

    def apply(self, model: Model, context: Context) -> Model:
        """Decide what is shared, and share it.

        Raises:
            UsageError: E263 when a name under `keep` fits no layer, E253 when groups name layers
                that no list has.
            ModelError: E433 when the model does not run afterwards, E483 when there is nothing to
                share, E484 when layers behave by their place in the list.
        """
        from edgepack.compress.shared import share

        return share(model, self, context)
