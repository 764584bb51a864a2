"""Proves on the model that cutting channels is the same as zeroing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgepack.compress.criteria.places import axis
from edgepack.errors import ModelError
from edgepack.model.edits import replay
from edgepack.model.groups import Groups

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Cut

EXACT = 1e-3
"""Largest difference, relative to the largest output, between cutting channels and zeroing them."""


def sound(model: Model, groups: Groups, cuts: Sequence[Cut]) -> list[Cut]:
    """Return the cuts that do what they should: all where together they do, else one by one."""
    if not cuts or _equals_zeroing(model, groups, cuts):
        return list(cuts)
    alone = [cut for cut in cuts if _equals_zeroing(model, groups, [cut])]
    return alone if _equals_zeroing(model, groups, alone) else []


def _equals_zeroing(model: Model, groups: Groups, cuts: Sequence[Cut]) -> bool:
    """Hold the model after cuts against the model with zeros where the cut channels are read."""
    feed = model.sized({}, seed=1)
    zeroed = model.copy()
    try:
        for member in (m for cut in cuts for m in groups.members(cut) if m.side == "in"):
            layer = zeroed.module.get_submodule(member.module)
            with torch.no_grad():
                layer.weight.index_fill_(axis(layer, member), torch.tensor(member.indices), 0)
        expected, got = zeroed.run(feed), replay(model, cuts).run(feed)
    except (RuntimeError, IndexError, ValueError, ModelError):
        return False
    pairs = [(expected[name], got[name]) for name in expected]
    return all(
        a.shape == b.shape and np.abs(a - b).max(initial=0) <= EXACT * np.abs(a).max(initial=0)
        for a, b in pairs
        if a.dtype.kind == "f"
    )
