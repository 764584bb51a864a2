"""Weights matter as much as the loss would change without them, to first order.

The square of weight times gradient, averaged over batches: Molchanov et al., Importance Estimation
for Neural Network Pruning (CVPR 2019, arXiv 1906.10771), for single weights. The square is taken
batch by batch, for over all samples the gradient of a trained model is nearly zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.objective import first, loss
from edgepack.compress.shown import shown
from edgepack.model.matrices import matrix

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.weights import PruneWeights
    from edgepack.model import Model

BATCH = 8
UNTOUCHED = 0.1
"""Share of weights without any gradient from which the samples may be too few to judge."""


def scores(
    model: Model, layers: Mapping[str, torch.nn.Module], options: PruneWeights, context: Context
) -> dict[str, torch.Tensor]:
    """Return the squared change of the loss for each weight, by layer.

    Raises:
        UsageError: E227 without data, E264 when there is nothing to take a loss of.
    """
    data = Batches.of(
        model,
        shown(context, ("train", "calibration"), "gradient"),
        labelled=False,
        most=options.samples,
    )
    found = {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}
    weights = [layer.weight.requires_grad_() for layer in layers.values()]
    for inputs, places in data.each(BATCH):
        with torch.enable_grad():
            value = loss(first(model.module(*inputs)), data, places)
        slopes = torch.autograd.grad(value, weights, allow_unused=True)
        for total, weight, slope in zip(found.values(), weights, slopes, strict=True):
            if slope is not None:
                total += (weight.detach() * slope).square()
        context.events.progress("prune-weights", places.stop, len(data))
    judged = [
        one
        for name, one in found.items()
        if options.scope == "global" or not isinstance(layers[name], torch.nn.Embedding)
    ]
    still = sum(int((one == 0).sum()) for one in judged)
    share = still / max(1, sum(one.numel() for one in judged))
    if share >= UNTOUCHED:
        context.events.note(
            f"{100 * share:.0f} % of these weights made no difference to the samples, such as "
            "words that none of them holds: they go first, though other data may need them"
        )
    return {name: matrix(layer, found[name]) for name, layer in layers.items()}
