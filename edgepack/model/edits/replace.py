"""Puts a block of another structure in the place of a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepack.model.blocks import block
from edgepack.model.edits.place import at, put

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Replace


def edit(model: Model, replacements: Sequence[Replace]) -> None:
    """Replace modules, in place.

    Raises:
        ModelError: E429 when a module is missing or the block cannot stand for it.
    """
    for one in replacements:
        put(model.module, one.module, block(at(model.module, one.module), one))
