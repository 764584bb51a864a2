"""Weights matter as much as they are large, times the length of the input that they meet.

Sun et al., A Simple and Effective Pruning Approach for Large Language Models (ICLR 2024, arXiv
2306.11695); weights compete within one output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgepack.compress.sparsity.choice import least_of_rows, least_of_runs

if TYPE_CHECKING:
    from edgepack.compress.activations import Inputs
    from edgepack.compress.weights import PruneWeights


def pruned(weights: torch.Tensor, inputs: Inputs, options: PruneWeights) -> torch.Tensor:
    """Return the weights with zeros where they matter least."""
    scores = weights.double().abs() * inputs.norms[:, None]
    if options.pattern:
        return weights.masked_fill(least_of_runs(scores, *options.run), 0)
    return weights.masked_fill(least_of_rows(scores, options.ratio), 0)
