"""Channels matter as much as the loss would rise, to second order, without them.

LeCun, Denker and Solla, Optimal Brain Damage (NIPS 1989): half the diagonal of the Hessian times
the squared weight, summed over the weights that read a channel. The diagonal is that of the
empirical Fisher information, as in Theis et al., Faster gaze prediction (arXiv 1801.05787).
"""

from __future__ import annotations

import torch

from edgepack.compress.criteria.gradients import gradients
from edgepack.compress.criteria.places import gather, readers, rows
from edgepack.compress.criteria.subject import Subject
from edgepack.types import Split

READS: tuple[Split, ...] = ("train",)


def scores(subject: Subject) -> list[torch.Tensor | None]:
    """Return half the sum of squared weights times squared gradients, over batches."""
    totals = [torch.zeros(group.channels, dtype=torch.float64) for group in subject.groups]
    for _ in gradients(subject.module, subject.samples):
        for total, group in zip(totals, subject.groups, strict=True):
            for layer, member in readers(subject.module, group):
                if layer.weight.grad is not None:
                    product = rows(layer, member, layer.weight * layer.weight.grad)
                    total += gather(group, member, product.square().sum(1) / 2)
    return list(totals)
