"""The rectifier, for a smoother activation: one comparison a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from edgepack.model.edits.place import misfit

if TYPE_CHECKING:
    from edgepack.types import Replace


def make(module: nn.Module, edit: Replace) -> nn.ReLU:
    """Return a rectifier.

    Raises:
        ModelError: E429 for a module that holds weights, which would be lost.
    """
    if module.state_dict():
        raise misfit(edit.module, f"a {type(module).__name__} holds weights")
    return nn.ReLU()
