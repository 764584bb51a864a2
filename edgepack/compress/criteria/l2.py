"""Channels matter as much as their weights are long.

The Euclidean form of Li et al., Pruning Filters for Efficient ConvNets (ICLR 2017, arXiv
1608.08710), summed over a group as in Fang et al., DepGraph (CVPR 2023, arXiv 2301.12900).
"""

from __future__ import annotations

import torch

from edgepack.model.groups import Group


def scores(module: torch.nn.Module, group: Group) -> torch.Tensor:
    """Return a score for each channel of a group [channels], float64.

    It is the sum over the group's layers of the length of the channel's weights in that layer,
    divided by the layer's mean length so that each layer has the same say.
    """
    total = torch.zeros(group.channels, dtype=torch.float64)
    for member in group.members:
        weight = getattr(module.get_submodule(member.module), "weight", None)
        if not isinstance(weight, torch.Tensor) or (member.side == "in" and weight.dim() < 2):
            continue
        rows = weight.detach().double().transpose(0, 1 if member.side == "in" else 0)
        chosen = rows[list(member.indices)].reshape(len(member.indices), -1)
        lengths = torch.zeros_like(total).index_add_(
            0, torch.tensor(member.channels), chosen.square().sum(1)
        )
        lengths = lengths.sqrt()
        if (mean := lengths.mean()) > 0:
            total += lengths / mean
    return total
