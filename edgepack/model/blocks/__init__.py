"""Blocks that stand for a module of another structure; one a file.

Each file has one function ``make(module, edit)``: it returns the block that takes and gives the
same shapes as `module`, with weights that come as near to it as the block alone can.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from edgepack.types import Replace


def block(module: torch.nn.Module, edit: Replace) -> torch.nn.Module:
    """Return the block that an edit names, for a module.

    Raises:
        ModelError: E429 when the block cannot stand for it.
    """
    made: torch.nn.Module = import_module(
        f"edgepack.model.blocks.{edit.by.replace('-', '_')}"
    ).make(module, edit)
    return made
