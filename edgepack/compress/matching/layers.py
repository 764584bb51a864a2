"""Which block of a student stands for which of its teacher's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from edgepack.compress.matching.watch import nothing_inside
from edgepack.errors import UsageError
from edgepack.model.attention import Attention, attentions_of, blocks_of


def blocks(module: nn.Module) -> list[str]:
    """Return the names of a model's blocks, in their order.

    Raises:
        ModelError: E477 when there are none.
    """
    lists = [name for name, part in module.named_modules() if isinstance(part, nn.ModuleList)]
    name = blocks_of(module) or max(
        lists, key=lambda name: len(list(module.get_submodule(name).modules())), default=""
    )
    if not name:
        raise nothing_inside("no list of blocks was found")
    return [f"{name}.{place}" for place in range(len(module.get_submodule(name)))]


def attentions(module: nn.Module) -> tuple[Attention, ...]:
    """Return a model's attention modules, in their order.

    Raises:
        ModelError: E477 when there are none.
    """
    if found := attentions_of(module):
        return found
    raise nothing_inside("no attention was found")


def matched(ours: int, theirs: int, layers: Sequence[int]) -> list[tuple[int, int]]:
    """Return blocks of a student with the teacher's that end as deep, counted from 0.

    Args:
        ours: blocks of the student.
        theirs: blocks of the teacher.
        layers: those of the student that are wanted, -1 for the last; all where none is named.

    Raises:
        UsageError: E257 when a block is named that there is not.
    """
    for layer in layers:
        if not -ours <= layer < ours:
            raise UsageError(
                "E257",
                f"there is no block {layer}",
                where="match_layers",
                why=f"the student has {ours}",
                fix=f"name blocks from 0 to {ours - 1}, or -1 for the last",
            )
    chosen = [layer % ours for layer in layers] or list(range(ours))
    return [(one, max(0, math.floor((one + 1) * theirs / ours + 0.5) - 1)) for one in chosen]


def spread(count: int, wanted: int) -> list[int]:
    """Return so many of `count` places, evenly spread from the first to the last."""
    if wanted == 1:
        return [0]
    return [math.floor(place * (count - 1) / (wanted - 1) + 0.5) for place in range(wanted)]
