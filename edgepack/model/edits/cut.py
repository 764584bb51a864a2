"""Removes channels, and all that depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepack.model.groups import Groups

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Cut


def edit(model: Model, cuts: Sequence[Cut]) -> None:
    """Cut channels from a model's module, in place.

    Raises:
        ModelError: E431 when it cannot be traced, E432 when a cut does not fit it.
    """
    groups = Groups(model)
    for cut in cuts:
        groups.cut(cut)
