"""Channels matter by lot: what every other criterion must beat."""

from __future__ import annotations

import torch

from edgepack.compress.criteria.subject import Subject
from edgepack.types import Split

READS: tuple[Split, ...] = ()


def scores(subject: Subject) -> list[torch.Tensor | None]:
    """Return numbers drawn from the seed."""
    source = torch.Generator().manual_seed(subject.seed)
    return [
        torch.rand(group.channels, generator=source, dtype=torch.float64)
        for group in subject.groups
    ]
