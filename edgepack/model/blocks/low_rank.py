"""Two thin layers for one: a narrow one, and one that widens again and adds the bias.

A convolution becomes one of the same kernel with few outputs, and one of a single place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.model.edits.place import misfit
from edgepack.model.factors import factors, spectrum
from edgepack.model.matrices import CONVOLUTIONS, fill, is_matrix, matrix

if TYPE_CHECKING:
    from edgepack.types import Replace


class Pair(nn.Sequential):  # type: ignore[misc]
    """A narrow layer and a wide one after it."""

    @property
    def weight(self) -> torch.Tensor:
        """The weights of the one layer that would do the same: some models read them themselves."""
        narrow, wide = self[0].weight, self[1].weight
        product: torch.Tensor = wide.flatten(1) @ narrow.flatten(1)
        return product.unflatten(1, narrow.shape[1:])

    @property
    def bias(self) -> torch.Tensor | None:
        """The bias of that layer."""
        bias: torch.Tensor | None = self[1].bias
        return bias


def make(module: nn.Module, edit: Replace) -> Pair:
    """Return the pair whose product is nearest to the module's weights.

    Raises:
        ModelError: E429 for a module that is neither linear nor a convolution without groups, and
            for a rank that it cannot have.
    """
    if not is_matrix(module) or getattr(module, "groups", 1) != 1:
        raise misfit(edit.module, f"a {type(module).__name__} is not one matrix of weights")
    weights = matrix(module)[0]
    if not 0 < edit.rank <= min(weights.shape):
        raise misfit(edit.module, f"its rank cannot be {edit.rank}")
    outputs, inputs = weights.shape
    narrow: nn.Module
    wide: nn.Module
    biased = module.bias is not None
    if isinstance(module, CONVOLUTIONS):
        of = type(module)
        narrow = of(
            module.in_channels,
            edit.rank,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            bias=False,
            padding_mode=module.padding_mode,
        )
        wide = of(edit.rank, outputs, 1, bias=biased)
    else:
        narrow = nn.Linear(inputs, edit.rank, bias=False)
        wide = nn.Linear(edit.rank, outputs, bias=biased)
    pair: Pair = Pair(narrow, wide).to(weights)
    set_factors(pair, *factors(weights, spectrum(weights).directions, edit.rank))
    if biased:
        with torch.no_grad():
            wide.bias.copy_(module.bias)
    return pair


def set_factors(pair: nn.Sequential, outer: torch.Tensor, inner: torch.Tensor) -> None:
    """Set the weights of such a pair from [outputs, rank] and [rank, inputs], in place."""
    fill(pair[0], inner[None])
    fill(pair[1], outer[None])
