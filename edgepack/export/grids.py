"""Finds trained weights in an exported graph, so that their levels travel along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.errors import ModelError
from edgepack.types import Grid, QuantTable, Tolerance

if TYPE_CHECKING:
    from edgepack.graph import Graph
    from edgepack.model import Model
    from edgepack.types import Array

ROUNDED = Tolerance(exact=False, relative=0.25, cosine=0.999)
"""Between instruction sets, where what flows is rounded: a last bit may flip a level."""


def table_of(model: Model, graph: Graph) -> QuantTable | None:
    """Return a model's grids by the names that the graph has for its weights; None without grids.

    A weight bears its own name, or another where the exporter turned it around.

    Raises:
        ModelError: E488 when a weight is not there any more.
    """
    if not model.grids:
        return None
    stored = {
        value.name: value.const_value.numpy()
        for value in graph.model.graph.initializers.values()
        if value.const_value is not None and len(value.const_value.shape) > 1
    }
    found: dict[str, Grid] = {}
    for name, grid in model.grids.items():
        weight = model.module.get_parameter(name).detach().cpu().numpy()
        place = _place(name, weight, stored)
        if place is None:
            raise _gone(name)
        turned = not np.array_equal(stored[place], weight)
        axis = 1 - grid.axis if turned and grid.axis is not None else grid.axis
        found[place] = grid.model_copy(update={"axis": axis})
    return QuantTable(method="trained", samples=0, ranges={}, grids=found)


def _place(name: str, weight: Array, stored: dict[str, Array]) -> str | None:
    """Return the name of the tensor that holds a weight, as it is or transposed."""
    forms = [weight, weight.T] if weight.ndim == 2 else [weight]
    names = [name, *(other for other in stored if other != name)]
    return next(
        (
            other
            for form in forms
            for other in names
            if other in stored and np.array_equal(stored[other], form)
        ),
        None,
    )


def _gone(name: str) -> ModelError:
    return ModelError(
        "E488",
        f"the exported graph does not hold `{name}` as it was trained",
        why="the exporter computed something of it, so its levels cannot be told any more",
        fix=f'let it stay float: keep = ["{name.rpartition(".")[0]}"] for `qat`',
    )
