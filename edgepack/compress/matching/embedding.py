"""Holds vectors by their direction, or by all that differs."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgepack.compress.matching.watch import real


def cosine(ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return one less the mean cosine of vectors [..., width]; padding does not count."""
    return 1 - functional.cosine_similarity(real(ours, mask), real(theirs, mask), dim=-1).mean()


def square(ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the mean square difference of values or vectors; padding does not count."""
    return functional.mse_loss(real(ours, mask), real(theirs, mask))
