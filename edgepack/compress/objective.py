"""What a model is trained for, told from its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from edgepack.compress.batches import unfit

if TYPE_CHECKING:
    from edgepack.compress.batches import Batches
    from edgepack.model import Model


def loss(given: torch.Tensor, data: Batches, places: Sequence[int]) -> torch.Tensor:
    """Return the mean loss of a model's first output for the samples at some places.

    Classes mean cross-entropy, values mean square error. Without labels, an output of scores for
    each token [batch, sequence, vocabulary] is held against the token that follows; padding, as the
    mask says, does not count.

    Raises:
        UsageError: E264 when there is nothing to train for.
    """
    if data.labels is not None:
        wanted = data.answers(places)
        if wanted.is_floating_point():
            return functional.mse_loss(given.reshape(wanted.shape), wanted)
        return functional.cross_entropy(given, wanted)
    if given.dim() != 3 or "input_ids" not in data.names:
        raise unfit("it has no labels, and the model does not score the next token")
    inputs = dict(zip(data.names, data.inputs(places), strict=True))
    following = inputs["input_ids"][:, 1:].clone()
    if "attention_mask" in inputs:
        following[inputs["attention_mask"][:, 1:] == 0] = -100
    return functional.cross_entropy(given[:, :-1].flatten(0, 1), following.flatten())


def first(given: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the output that is trained: the first of several."""
    return given[0] if isinstance(given, tuple | list) else given


def soft(given: torch.Tensor, wanted: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return how far softened answers stand from a teacher's, as a mean over the batch.

    Scores [batch, ..., classes] are held by the divergence of their softened distributions, times
    the temperature's square so that its gradient does not shrink with it: Hinton et al., Distilling
    the Knowledge in a Neural Network (2015, arXiv 1503.02531).
    """
    ours = functional.log_softmax(given.flatten(0, -2) / temperature, -1)
    theirs = functional.log_softmax(wanted.flatten(0, -2) / temperature, -1)
    divergence = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def answers(model: Model, data: Batches, size: int) -> list[torch.Tensor]:
    """Return a model's first output for each sample, computed once; padding cut off.

    Args:
        model: in evaluation mode.
        data: the samples.
        size: samples a batch.
    """
    found: list[torch.Tensor] = []
    with torch.no_grad():
        for inputs, _ in data.each(size):
            found.extend(first(model.module(*inputs)).unbind(0))
    return found
