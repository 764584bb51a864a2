"""Holds the states that go from block to block, or what any two modules give.

Jiao et al., TinyBERT (Findings of EMNLP 2020, arXiv 1909.10351), equation 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from edgepack.compress.matching.layers import blocks, matched
from edgepack.compress.matching.watch import Pair, Point, Seen, nothing_inside, real
from edgepack.errors import UsageError, did_you_mean


def pairs(student: nn.Module, teacher: nn.Module, layers: Sequence[int]) -> list[Pair]:
    """Return the blocks of a student, each with the last of the teacher's that it stands for.

    Raises:
        ModelError: E477 when one of them has no blocks.
        UsageError: E257 when a block is named that there is not.
    """
    ours, theirs = blocks(student), blocks(teacher)
    return [
        Pair(Point(ours[mine]), Point(theirs[other]))
        for mine, other in matched(len(ours), len(theirs), layers)
    ]


def named(student: nn.Module, teacher: nn.Module, features: Mapping[str, str]) -> list[Pair]:
    """Return the modules that a user names.

    Raises:
        UsageError: E250 when there is none of a name.
    """
    for module, names in ((student, features), (teacher, features.values())):
        known = [name for name, _ in module.named_modules() if name]
        for name in names:
            if name not in known:
                raise UsageError(
                    "E250",
                    f"no module is named `{name}`",
                    where="features",
                    fix=did_you_mean(name, known),
                )
    return [Pair(Point(mine), Point(other)) for mine, other in features.items()]


class Hidden(nn.Module):  # type: ignore[misc]
    """The mean square difference of states, as a share of the teacher's own mean square.

    Where widths differ, a linear projection of the student's is trained along.

    Args:
        pairs: what is held against what.
        ours, theirs: what was seen there once.

    Raises:
        ModelError: E477 when two of them have other shapes than states of one input have.
    """

    def __init__(self, pairs: Sequence[Pair], ours: Seen, theirs: Seen) -> None:
        super().__init__()
        self._pairs = tuple(pairs)
        self.projections = nn.ModuleList()
        for pair in pairs:
            one, other = _vectors(ours[pair.ours]), _vectors(theirs[pair.theirs])
            if one.dim() != other.dim():
                raise nothing_inside(
                    f"`{pair.ours.module}` gives {list(one.shape)}, and the teacher's "
                    f"`{pair.theirs.module}` {list(other.shape)}"
                )
            wide, wanted = one.shape[-1], other.shape[-1]
            self.projections.append(
                nn.Identity() if wide == wanted else nn.Linear(wide, wanted, bias=False)
            )

    def forward(self, ours: Seen, theirs: Seen, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the mean over the pairs."""
        losses = []
        for pair, projection in zip(self._pairs, self.projections, strict=True):
            one, other = _aligned(ours[pair.ours], theirs[pair.theirs])
            wanted = real(other, mask)
            given = real(projection(one), mask)
            losses.append(functional.mse_loss(given, wanted) / wanted.square().mean().clamp(1e-9))
        return torch.stack(losses).mean()


def _aligned(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors of both; the finer of two pictures is averaged to the coarser one's size."""
    if one.dim() == 4 and one.shape[2:] != other.shape[2:]:
        size = [min(a, b) for a, b in zip(one.shape[2:], other.shape[2:], strict=True)]
        one, other = (functional.adaptive_avg_pool2d(t, size) for t in (one, other))
    return _vectors(one), _vectors(other)


def _vectors(states: torch.Tensor) -> torch.Tensor:
    """Return states [batch, ..., width]: the channels of a picture go last."""
    return states.flatten(2).transpose(1, 2) if states.dim() == 4 else states
