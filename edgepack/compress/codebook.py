"""Weights as the values of a small codebook.

Han et al., Deep Compression (ICLR 2016, arXiv 1510.00149): k-means over a layer's weights, from
centres that are spread evenly between the least and the greatest.
"""

from __future__ import annotations

import torch

ROUNDS = 50


def clustered(weights: torch.Tensor, count: int) -> torch.Tensor:
    """Return weights with each at the nearest of `count` values; the same shape and type.

    Sorted once, a cluster is a slice, and its mean a difference of running sums.
    """
    flat = weights.detach().double().flatten()
    ordered = flat.sort().values
    if len(ordered.unique_consecutive()) <= count:
        return weights.detach().clone()
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), ordered.cumsum(0)])
    centres = torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64)
    for _ in range(ROUNDS):
        ends = torch.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        ends = torch.cat([ends.new_zeros(1), ends, ends.new_full((1,), len(ordered))])
        sizes = ends[1:] - ends[:-1]
        means = (sums[ends[1:]] - sums[ends[:-1]]) / sizes.clamp(min=1)
        # An empty cluster keeps its centre.
        moved = torch.where(sizes > 0, means, centres).sort().values
        if torch.equal(moved, centres):
            break
        centres = moved
    nearest = torch.searchsorted((centres[1:] + centres[:-1]) / 2, flat)
    return centres[nearest].to(weights.dtype).reshape(weights.shape)
