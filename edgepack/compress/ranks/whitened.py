"""The outputs on whitened inputs are approximated; what was never seen still counts a little.

Wang et al., SVD-LLM: Truncation-aware Singular Value Decomposition (ICLR 2025, arXiv 2403.07378):
the weights times a root of the inputs' second moment are cut. The moment is damped, so that there
is such a root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from edgepack.compress.activations import Inputs

DAMPING = 1e-3
"""What is added to the diagonal, as a share of its mean."""


def moment(inputs: Inputs | None) -> torch.Tensor | None:
    """Return the damped second moment of the inputs."""
    assert inputs is not None
    seen = inputs.moment[0] / inputs.rows
    return seen + torch.eye(len(seen), dtype=seen.dtype) * seen.diagonal().mean() * DAMPING
