"""Holds scores by their softened distributions."""

from __future__ import annotations

import torch

from edgepack.compress.matching.watch import real
from edgepack.compress.objective import soft


def difference(
    ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor | None, temperature: float
) -> torch.Tensor:
    """Return the divergence of scores [..., classes] from a teacher's; padding does not count."""
    return soft(real(ours, mask), real(theirs, mask), temperature)
