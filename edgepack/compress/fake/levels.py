"""Rounding to levels whose distance is learned; gradients pass through it.

Esser et al., Learned Step Size Quantization (ICLR 2020, arXiv:1902.08153), with a scale for each
channel of a weight. The logarithm of a scale is trained in its place, so that it stays positive and
one learning rate suits all scales. Binary weights have the scale of XNOR-Net (Rastegari et al.,
ECCV 2016, arXiv:1603.05279): the mean magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from edgepack.types import Width

LEVELS: Mapping[Width, tuple[int, int]] = {
    "binary": (-1, 1),
    "ternary": (-1, 1),
    "w2": (-2, 1),
    "w4": (-8, 7),
    "w8": (-127, 127),
}
"""The lowest and the highest level."""
NARROW = (-64, 64)
"""Levels of `w8` where the sum of two products must fit 16 bits."""
STEPS = 40
"""Scales that are tried for the first one, from the widest on."""


def nearest(tensor: torch.Tensor) -> torch.Tensor:
    """Return whole numbers with the gradient of their argument (straight-through)."""
    return tensor + (tensor.round() - tensor).detach()


def damped(tensor: torch.Tensor, by: float) -> torch.Tensor:
    """Return a tensor as it is, with a smaller gradient."""
    return (tensor - tensor * by).detach() + tensor * by


class Weight(nn.Module):  # type: ignore[misc]
    """Levels of a weight; a parametrization of it.

    Args:
        weight: as it is before; the first scales fit it with the least squared error.
        axis: of its outputs.
        levels: the lowest and the highest.
    """

    def __init__(self, weight: torch.Tensor, axis: int, levels: tuple[int, int]) -> None:
        super().__init__()
        self.axis, (self.low, self.high) = axis, levels
        self.others = tuple(i for i in range(weight.dim()) if i != axis)
        self.by = 1 / math.sqrt(max(1, weight.numel() // weight.shape[axis]) * self.high)
        self.log_scale = nn.Parameter(self._first(weight.detach()).log())

    def scale(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the scales, shaped to go with the weight."""
        return damped(self.log_scale, self.by).exp()

    def levels(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the level of each number, as float."""
        return (weight / self.scale(weight)).clamp(self.low, self.high).round()

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight at its levels."""
        scale = self.scale(weight)
        return nearest((weight / scale).clamp(self.low, self.high)) * scale

    def _first(self, weight: torch.Tensor) -> torch.Tensor:
        most = weight.abs().amax(self.others, keepdim=True)
        widest = torch.where(most > 0, most, torch.ones_like(most)) / self.high
        best, error = widest, torch.full_like(widest, math.inf)
        for step in range(STEPS):
            scale = widest * (1 - 0.9 * step / STEPS)
            rounded = (weight / scale).clamp(self.low, self.high).round() * scale
            wrong = (rounded - weight).square().sum(self.others, keepdim=True)
            best = torch.where(wrong < error, scale, best)
            error = torch.minimum(wrong, error)
        return best


class Sign(nn.Module):  # type: ignore[misc]
    """The sign of a weight times its channel's mean magnitude; a parametrization of it."""

    def __init__(self, weight: torch.Tensor, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.others = tuple(i for i in range(weight.dim()) if i != axis)

    def scale(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the scales, shaped to go with the weight."""
        return weight.abs().mean(self.others, keepdim=True).clamp(min=1e-12)

    def levels(self, weight: torch.Tensor) -> torch.Tensor:
        """Return -1 or 1 for each number."""
        return torch.where(weight < 0, -1.0, 1.0)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight at its levels."""
        scale = self.scale(weight)
        share = weight / scale.detach()
        return (share + (self.levels(weight) - share).detach()) * scale


class Activation(nn.Module):  # type: ignore[misc]
    """256 levels of what flows between layers; zero is one of them.

    Args:
        low, high: what was seen; the scale is learned from there on, the zero point stays.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 255 or 1.0
        self.zero = round(-low / scale)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())

    @property
    def scale(self) -> float:
        """The scale that was learned."""
        return float(self.log_scale.detach().exp())

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor at its levels."""
        by = 1 / math.sqrt(tensor[0].numel() * 255)
        scale = damped(self.log_scale, by).exp()
        level = nearest((tensor / scale).clamp(-self.zero, 255 - self.zero))
        return level * scale
