"""Allots ranks to layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from edgepack.errors import ModelError
from edgepack.model.matrices import matrix


def saving(layer: nn.Module) -> int:
    """Return the greatest rank at which a pair has fewer weights than the layer."""
    outputs, inputs = matrix(layer)[0].shape
    return int((outputs * inputs - 1) // (outputs + inputs))


def by_energy(energies: torch.Tensor, share: float) -> int:
    """Return the least rank that keeps a share of the energy."""
    kept = energies.cumsum(0) / energies.sum().clamp(min=torch.finfo(energies.dtype).tiny)
    return min(len(energies), int((kept < share).sum()) + 1)


def by_budget(
    shapes: Mapping[str, tuple[int, int]],
    energies: Mapping[str, torch.Tensor],
    weights: int,
    budget: int,
) -> dict[str, int]:
    """Give rank by rank to where it brings most of a layer's energy back for each parameter.

    A layer that would cost as much as a pair as it does whole is left whole: its rank is that of
    the matrix.

    Args:
        shapes: outputs and inputs of each layer.
        energies: of each layer's directions, falling.
        weights: how many all layers together may have.
        budget: how many the model may have, for the message.

    Raises:
        ModelError: E466 when not even one rank each fits.
    """
    ranks = dict.fromkeys(shapes, 1)
    left = weights - sum(a + b for a, b in shapes.values())
    if left < 0:
        raise ModelError(
            "E466",
            f"the model cannot have as few as {budget:,} parameters by thin layers alone",
            where="params",
            why=f"at rank 1 everywhere it would have {budget - left:,}",
            fix=f"set `params` to more than {budget - left:,}, or take another technique first",
        )
    steps = sorted(
        (-float(energy / one.sum().clamp(min=1e-300)) / sum(shapes[name]), place, name)
        for name, one in energies.items()
        for place, energy in enumerate(one)
        if place
    )
    for _, _, name in steps:
        outputs, inputs = shapes[name]
        whole = (ranks[name] + 1) * (outputs + inputs) >= outputs * inputs
        if ranks[name] == min(shapes[name]):
            continue
        cost = outputs * inputs - ranks[name] * (outputs + inputs) if whole else outputs + inputs
        if cost <= left:
            left -= cost
            ranks[name] = min(shapes[name]) if whole else ranks[name] + 1
    return ranks
