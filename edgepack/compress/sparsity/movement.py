"""Weights matter as much as training moves them away from zero.

Sanh et al., Movement Pruning: Adaptive Sparsity by Fine-Tuning (NeurIPS 2020, arXiv 2005.07683),
its hard form: the score of a weight is the sum over steps of minus weight times gradient, and the
weights of the lowest scores are zero while the model trains, more of them by a cubic schedule. A
weight that is zero keeps its score going, and may come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgepack.compress.batches import Batches
from edgepack.compress.shown import shown
from edgepack.compress.sparsity.choice import least, least_of_words
from edgepack.compress.train import plain
from edgepack.model.fit import Schedule, Task, fit
from edgepack.model.matrices import matrix

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.weights import PruneWeights
    from edgepack.model import Model


EVERY = 8
"""Steps after which scores are looked at again."""


class Masked(nn.Module):  # type: ignore[misc]
    """Zeroes the weights of the lowest scores, and keeps the scores.

    Args:
        layer: whose weights they are.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        weight = layer.weight.detach()
        self.sizes = weight.abs() if isinstance(layer, nn.Embedding) else None
        self.scores = torch.zeros_like(weight)
        self.moved = torch.zeros_like(weight)
        self.mask = torch.ones_like(weight)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights with zeros among them; their gradient adds to the scores."""
        seen = weight * self.mask
        if seen.requires_grad:
            held = weight.detach()
            seen.register_hook(lambda slope: self.moved.sub_(held * slope))
        return seen

    def thin(self, ratio: float) -> None:
        """Add up what the last steps gave in all processes, and zero a share from now on."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.moved)
        self.scores += self.moved
        self.moved.zero_()
        if self.sizes is None:
            gone = least(self.scores, ratio)
        else:
            gone = least_of_words(self.scores, self.sizes, ratio)
        self.mask = (~gone).to(self.mask)


def scores(
    model: Model, layers: Mapping[str, nn.Module], options: PruneWeights, context: Context
) -> dict[str, torch.Tensor]:
    """Train a model in place, and return the score of each weight, by layer.

    Raises:
        UsageError: E227 without data, E264 to E266 when it does not fit the model.
        ModelError: E434 when the loss is no longer a number.
    """
    data = Batches.of(model, shown(context, ("train",), "movement"), labelled=False)
    masks = {name: Masked(layer) for name, layer in layers.items()}
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", masks[name])
    final = 1 - options.run[0] / options.run[1] if options.pattern else options.ratio

    total = options.epochs * -(-len(data) // options.batch_size)
    done = 0

    def after(module: nn.Module) -> None:  # noqa: ARG001
        nonlocal done
        done = min(done + 1, total)
        if done % EVERY == 0 or done == total:
            for mask in masks.values():
                mask.thin(final * (1 - (1 - done / total) ** 3))

    fit(
        model.module,
        Task("prune-weights", len(data), plain(data), after=after),
        Schedule(options.epochs, options.learning_rate, options.batch_size),
        context.events,
    )
    for layer in layers.values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return {name: matrix(layer, masks[name].scores) for name, layer in layers.items()}
