"""A narrow embedding and a linear layer that widens it, for one wide embedding.

Lan et al., ALBERT (ICLR 2020, arXiv 1909.11942): V * H weights become V * E + E * H.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.model.edits.place import misfit
from edgepack.model.factors import factors, spectrum

if TYPE_CHECKING:
    from edgepack.types import Replace


class Factorised(nn.Sequential):  # type: ignore[misc]
    """A narrow embedding and the linear layer after it."""

    @property
    def embedding_dim(self) -> int:
        """Width of what it gives."""
        return int(self[1].out_features)

    @property
    def num_embeddings(self) -> int:
        """Rows of the table."""
        return int(self[0].num_embeddings)

    @property
    def padding_idx(self) -> int | None:
        """The row that stays zero in training."""
        place: int | None = self[0].padding_idx
        return place


def make(module: nn.Module, edit: Replace) -> Factorised:
    """Return the pair whose product is nearest to the embedding's table.

    Raises:
        ModelError: E429 for a module that is no embedding, one that scales its rows by a largest
            norm, and for a rank that it cannot have.
    """
    if not isinstance(module, nn.Embedding):
        raise misfit(edit.module, f"a {type(module).__name__} is no embedding")
    if type(module).forward is not nn.Embedding.forward or module.max_norm is not None:
        raise misfit(edit.module, f"{type(module).__name__} does more than look rows up")
    table = module.weight.detach()
    rows, width = table.shape
    if not 0 < edit.rank < min(rows, width):
        raise misfit(edit.module, f"its rank cannot be {edit.rank}")
    narrow = nn.Embedding(rows, edit.rank, padding_idx=module.padding_idx)
    wide = nn.Linear(edit.rank, width, bias=False)
    made: Factorised = Factorised(narrow, wide).to(table)
    looked_up, widening = factors(table, spectrum(table).directions, edit.rank)
    # Both are given one length, so that training moves them alike.
    scale = (widening.norm() / looked_up.norm()).sqrt()
    with torch.no_grad():
        narrow.weight.copy_(looked_up * scale)
        wide.weight.copy_(widening.T / scale)
    return made
