"""Weights matter as much as they are large.

Han et al., Learning both Weights and Connections for Efficient Neural Networks (NIPS 2015, arXiv
1506.02626).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from edgepack.model.matrices import matrix

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.weights import PruneWeights
    from edgepack.model import Model


def scores(
    model: Model,  # noqa: ARG001
    layers: Mapping[str, torch.nn.Module],
    options: PruneWeights,  # noqa: ARG001
    context: Context,  # noqa: ARG001
) -> dict[str, torch.Tensor]:
    """Return the size of each weight, by layer."""
    return {name: matrix(layer).abs() for name, layer in layers.items()}
