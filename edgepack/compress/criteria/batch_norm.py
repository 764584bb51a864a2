"""Channels matter as much as their batch norms scale them.

Liu et al., Learning Efficient Convolutional Networks through Network Slimming (ICCV 2017, arXiv
1708.06519).
"""

from __future__ import annotations

import torch

from edgepack.compress.criteria.places import gather, rows
from edgepack.compress.criteria.subject import Subject
from edgepack.model.groups import Group
from edgepack.types import Split

READS: tuple[Split, ...] = ()


def scores(subject: Subject) -> list[torch.Tensor | None]:
    """Return the sum of a channel's scales; None for a group without batch norm."""
    return [_scale(subject.module, group) for group in subject.groups]


def _scale(module: torch.nn.Module, group: Group) -> torch.Tensor | None:
    total = torch.zeros(group.channels, dtype=torch.float64)
    said = False
    for member in group.members:
        layer = module.get_submodule(member.module)
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) and layer.affine:
            total += gather(group, member, rows(layer, member, layer.weight).abs().sum(1))
            said = True
    return total if said else None
