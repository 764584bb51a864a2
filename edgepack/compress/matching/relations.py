"""Holds how queries, keys and values of the tokens resemble each other.

Wang et al., MiniLMv2 (Findings of ACL 2021, arXiv 2012.15828): as relations are between tokens, the
two models may have other widths and other numbers of heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from edgepack.compress.matching.attention import divergence
from edgepack.compress.matching.layers import attentions, matched
from edgepack.compress.matching.watch import Pair, Point, Seen, nothing_inside
from edgepack.model.attention import Attention


def pairs(student: nn.Module, teacher: nn.Module, layers: Sequence[int]) -> list[Pair]:
    """Return what gives queries, keys and values, of the last blocks where none is named.

    Raises:
        ModelError: E477 when one of them has no attention that is known.
        UsageError: E257 when a block is named that there is not.
    """
    ours, theirs = attentions(student), attentions(teacher)
    return [
        Pair(Point(mine), Point(other))
        for one, two in matched(len(ours), len(theirs), layers or (-1,))
        for mine, other in zip(_giving(ours[one]), _giving(theirs[two]), strict=True)
    ]


def _giving(one: Attention) -> tuple[str, ...]:
    if one.fused:
        raise nothing_inside(f"`{one.queries}` gives queries, keys and values in one")
    return one.queries, one.keys, one.values


class Related(nn.Module):  # type: ignore[misc]
    """The divergence of a student's relations from the teacher's, a mean over heads and tokens.

    Args:
        pairs: what is held against what.
        ours, theirs: what was seen there once.
        heads: that relations are split into; 0 for the largest number up to 64 that divides all
            widths.

    Raises:
        ModelError: E477 when a width is no multiple of the heads.
    """

    def __init__(self, pairs: Sequence[Pair], ours: Seen, theirs: Seen, heads: int = 0) -> None:
        super().__init__()
        self._pairs = tuple(pairs)
        widths = [ours[p.ours].shape[-1] for p in pairs] + [
            theirs[p.theirs].shape[-1] for p in pairs
        ]
        common = math.gcd(*widths)
        # As many heads as leave 16 numbers to each: fewer tell little of a relation.
        most = max(1, min(64, common // 16))
        self._heads = heads or next(n for n in range(most, 0, -1) if common % n == 0)
        if common % self._heads:
            raise nothing_inside(
                f"relations cannot be split into {heads} heads: widths are {sorted(set(widths))}"
            )

    def forward(self, ours: Seen, theirs: Seen, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the mean over the pairs of states [batch, sequence, width]."""
        losses = [
            divergence(
                self._scores(theirs[pair.theirs], mask).softmax(-1),
                self._scores(ours[pair.ours], mask).log_softmax(-1),
                mask,
            )
            for pair in self._pairs
        ]
        return torch.stack(losses).mean()

    def _scores(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return scaled products of all tokens [batch, heads, sequence, sequence]."""
        split = states.unflatten(-1, (self._heads, -1)).transpose(1, 2)
        scores = split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])
        if mask is None:
            return scores
        return scores.masked_fill(mask[:, None, None, :] == 0, -1e4)
