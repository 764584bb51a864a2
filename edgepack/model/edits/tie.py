"""Makes one module, or one weight, serve in several places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from edgepack.model.edits.place import at, misfit, put

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Tie


def edit(model: Model, ties: Sequence[Tie]) -> None:
    """Put one module, or one weight, in the place of another, in place of the model's.

    Raises:
        ModelError: E429 when one of them is missing, or two weights differ in shape.
    """
    for tie in ties:
        weight = _weight(model.module, tie.to)
        if weight is None:
            put(model.module, tie.module, at(model.module, tie.to))
            continue
        old = _weight(model.module, tie.module)
        if old is None or old.shape != weight.shape:
            raise misfit(tie.module, f"it is no weight of the shape of `{tie.to}`")
        for layer in model.module.modules():
            for leaf, parameter in layer._parameters.items():
                if parameter is old:
                    layer._parameters[leaf] = weight


def _weight(root: nn.Module, name: str) -> nn.Parameter | None:
    """Return the parameter of that name; None where there is none."""
    try:
        return root.get_parameter(name)
    except AttributeError:
        return None
