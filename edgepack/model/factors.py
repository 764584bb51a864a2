"""A matrix as the product of two thinner ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Spectrum:
    """What a matrix does to inputs, from the strongest direction of its outputs to the weakest.

    Attributes:
        directions: orthonormal outputs as columns [outputs, least side], float64.
        energies: the mean square of the outputs along each [least side], falling, float64.
    """

    directions: torch.Tensor
    energies: torch.Tensor


def spectrum(weights: torch.Tensor, moment: torch.Tensor | None = None) -> Spectrum:
    """Decompose weights [outputs, inputs] by what they give for inputs of a second moment.

    Without a moment [inputs, inputs] it is the plain singular value decomposition. With it the
    directions are the left singular vectors of the weights times the moment's root.
    """
    matrix = weights.detach().double()
    outputs, inputs = matrix.shape
    if outputs <= inputs:
        seen = matrix @ matrix.T if moment is None else matrix @ moment @ matrix.T
        energies, directions = torch.linalg.eigh(seen)
        return Spectrum(directions.flip(1), energies.flip(0).clamp(min=0))
    # The smaller side is decomposed; its vectors are then brought to the other.
    rooted = matrix if moment is None else matrix @ _root(moment)
    energies, vectors = torch.linalg.eigh(rooted.T @ rooted)
    directions = torch.linalg.qr(rooted @ vectors.flip(1)).Q
    return Spectrum(directions, energies.flip(0).clamp(min=0))


def factors(
    weights: torch.Tensor, directions: torch.Tensor, rank: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [outputs, rank] and [rank, inputs], whose product keeps the first directions.

    It is the best product of that rank: W projected on the first left singular vectors of W S, S
    being the moment's root, is the truncated decomposition of W S times the inverse of S.
    """
    first = directions[:, :rank]
    second = first.T @ weights.detach().double()
    return first.to(weights.dtype), second.to(weights.dtype)


def _root(moment: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(moment)
    root: torch.Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root
