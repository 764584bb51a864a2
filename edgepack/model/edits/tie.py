"""Makes one module serve in several places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepack.model.edits.place import at, put

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Tie


def edit(model: Model, ties: Sequence[Tie]) -> None:
    """Put one module in the place of another, in place of the model's.

    Raises:
        ModelError: E432 when one of them is missing.
    """
    for tie in ties:
        put(model.module, tie.module, at(model.module, tie.to))
