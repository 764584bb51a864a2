"""Channels matter as much as the loss would change, to first order, without them.

Molchanov et al., Importance Estimation for Neural Network Pruning (CVPR 2019, arXiv 1906.10771):
the square of the sum of gradient times weight, here over the weights that read a channel, since
zeroing these is what removing it does.
"""

from __future__ import annotations

import torch

from edgepack.compress.criteria.gradients import gradients
from edgepack.compress.criteria.places import gather, readers, rows
from edgepack.compress.criteria.subject import Subject
from edgepack.types import Split

READS: tuple[Split, ...] = ("train",)


def scores(subject: Subject) -> list[torch.Tensor | None]:
    """Return the squared first-order change of the loss, summed over batches."""
    totals = [torch.zeros(group.channels, dtype=torch.float64) for group in subject.groups]
    for _ in gradients(subject.module, subject.samples):
        for total, group in zip(totals, subject.groups, strict=True):
            change = torch.zeros_like(total)
            for layer, member in readers(subject.module, group):
                if layer.weight.grad is not None:
                    product = rows(layer, member, layer.weight * layer.weight.grad)
                    change += gather(group, member, product.sum(1))
            total += change.square()
    return list(totals)
