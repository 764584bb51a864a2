"""Channels matter as much as their weights are long.

The Euclidean form of Li et al., Pruning Filters for Efficient ConvNets (ICLR 2017, arXiv
1608.08710), summed over a group as in Fang et al., DepGraph (CVPR 2023, arXiv 2301.12900).
"""

from __future__ import annotations

import torch

from edgepack.compress.criteria.places import summed
from edgepack.compress.criteria.subject import Subject
from edgepack.types import Split

READS: tuple[Split, ...] = ()


def scores(subject: Subject) -> list[torch.Tensor | None]:
    """Return the length of each channel's weights, each layer of a group having the same say."""
    return [
        summed(subject.module, group, lambda weight: weight.square().sum(1), torch.sqrt)
        for group in subject.groups
    ]
