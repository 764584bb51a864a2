"""Holds where attention looks.

Wang et al., MiniLM (NeurIPS 2020, arXiv 2002.10957), equation 6, for any of the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgepack.compress.matching.layers import attentions, matched
from edgepack.compress.matching.watch import Pair, Point, Seen

LEAST = 1e-9


def pairs(student: nn.Module, teacher: nn.Module, layers: Sequence[int]) -> list[Pair]:
    """Return the attention of a student's blocks with that of the teacher's.

    Raises:
        ModelError: E477 when one of them has no attention that is known.
        UsageError: E257 when a block is named that there is not.
    """
    ours, theirs = attentions(student), attentions(teacher)
    return [
        Pair(Point(ours[mine].name, 1), Point(theirs[other].name, 1))
        for mine, other in matched(len(ours), len(theirs), layers)
    ]


class Attended(nn.Module):  # type: ignore[misc]
    """The divergence of a student's attention from the teacher's, a mean over heads and tokens.

    Where the numbers of heads differ, the means over the heads are held.

    Args:
        pairs: what is held against what.
        ours, theirs: what was seen there once.
    """

    def __init__(self, pairs: Sequence[Pair], ours: Seen, theirs: Seen) -> None:
        super().__init__()
        self._pairs = tuple(pairs)
        self._each = all(ours[p.ours].shape[1] == theirs[p.theirs].shape[1] for p in pairs)

    def forward(self, ours: Seen, theirs: Seen, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the mean over the pairs of attention [batch, heads, sequence, sequence]."""
        losses = []
        for pair in self._pairs:
            one, other = ours[pair.ours], theirs[pair.theirs]
            if not self._each:
                one, other = one.mean(1, keepdim=True), other.mean(1, keepdim=True)
            losses.append(divergence(other, one.clamp(LEAST).log(), mask))
        return torch.stack(losses).mean()


def divergence(theirs: torch.Tensor, ours: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return KL(theirs || ours), a mean over heads and the tokens that are no padding.

    Args:
        theirs: distributions [batch, heads, sequence, sequence].
        ours: logarithms of such.
        mask: [batch, sequence], or None.
    """
    each = (theirs * (theirs.clamp(LEAST).log() - ours)).sum(-1).mean(1)
    return each[mask != 0].mean() if mask is not None else each.mean()
