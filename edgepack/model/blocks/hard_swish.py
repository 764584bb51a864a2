"""x * clip(x + 3, 0, 6) / 6, for x * sigmoid(x).

Howard et al., Searching for MobileNetV3 (ICCV 2019, arXiv 1905.02244).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from edgepack.model.edits.place import misfit

if TYPE_CHECKING:
    from edgepack.types import Replace


def make(module: nn.Module, edit: Replace) -> nn.Hardswish:
    """Return the piecewise activation.

    Raises:
        ModelError: E429 for a module that holds weights, which would be lost.
    """
    if module.state_dict():
        raise misfit(edit.module, f"a {type(module).__name__} holds weights")
    return nn.Hardswish()
