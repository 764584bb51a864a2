"""The outputs on the very inputs that were seen are approximated, and nothing else.

Chen et al., DRONE: Data-aware Low-rank Compression for Large NLP Models (NeurIPS 2021): the best
product for inputs that span less than all directions. Its closed form is the projection of the
weights on the strongest directions of their outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from edgepack.compress.activations import Inputs


def moment(inputs: Inputs | None) -> torch.Tensor | None:
    """Return the second moment of the inputs as it is."""
    assert inputs is not None
    return inputs.moment[0] / inputs.rows
