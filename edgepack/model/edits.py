"""Replays edits: the one way in which channels leave a module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgepack.model.groups import Groups

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Edit


def replay(model: Model, edits: Sequence[Edit]) -> Model:
    """Return a copy of a model after the edits; the same edits always give the same model.

    Raises:
        ModelError: E431 when the module cannot be traced, E432 when an edit does not fit it.
    """
    if not edits:
        return model
    ours = model.copy()
    groups = Groups(ours)
    for edit in edits:
        groups.cut(edit)
    return replace(ours, edits=(*model.edits, *edits))
