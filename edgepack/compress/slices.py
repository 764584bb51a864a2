"""Fills a narrower transformer with slices of a wider one's weights.

Widths that go through the whole model are sliced at the same places everywhere, so that what is
left still fits together: those of the table of tokens that are longest, the inner neurons that
weigh most, and heads evenly spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from edgepack.compress.matching.layers import spread
from edgepack.model.attention import attentions_of


def fill(student: nn.Module, teacher: nn.Module, blocks: str, copied: Sequence[int]) -> None:
    """Set all of a student's weights, in place.

    Args:
        student: of the teacher's class, no wider and no deeper.
        teacher: gives the weights.
        blocks: the name of the list of blocks in both.
        copied: the teacher's blocks that the student's begin with.
    """
    state = teacher.state_dict()
    wide, narrow = _widths(teacher, blocks), _widths(student, blocks)
    hidden = _longest(teacher, wide, narrow)
    ours = {one.name: one for one in attentions_of(student)}
    theirs = {one.name: one for one in attentions_of(teacher)}
    rows: dict[str, list[int]] = {}
    columns: dict[str, list[int]] = {}
    for name, mine in ours.items():
        other = theirs[_source(name, blocks, copied)]
        asked = _heads(other.heads, other.width, mine.heads, mine.width)
        read = _heads(other.groups, other.width, mine.groups, mine.width)
        rows |= {mine.queries: asked, mine.keys: read, mine.values: read}
        columns[mine.joining] = asked
    with torch.no_grad():
        for name, tensor in student.state_dict().items():
            layer = name.rpartition(".")[0]
            source = _source(name, blocks, copied)
            whole = state[source]
            for axis, (now, then) in enumerate(zip(tensor.shape, whole.shape, strict=True)):
                if axis == 0 and layer in rows:
                    places = rows[layer]
                elif axis == 1 and layer in columns:
                    places = columns[layer]
                elif now == then:
                    continue
                elif then == wide:
                    places = hidden
                else:
                    places = _heaviest(state, source, blocks, then, now)
                whole = whole.index_select(axis, torch.tensor(places))
            tensor.copy_(whole)


def _source(name: str, blocks: str, copied: Sequence[int]) -> str:
    """Return a weight's or module's name in the teacher."""
    if not name.startswith(f"{blocks}."):
        return name
    place, _, rest = name.removeprefix(f"{blocks}.").partition(".")
    return f"{blocks}.{copied[int(place)]}.{rest}"


def _widths(module: nn.Module, blocks: str) -> int:
    """Return the width of what goes from block to block: that of a block's first norm."""
    for part in module.get_submodule(blocks)[0].modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.dim() == 1:
            return len(weight)
    return 0


def _longest(teacher: nn.Module, wide: int, narrow: int) -> list[int]:
    """Return the columns of the largest table that are longest; evenly spread without a table."""
    tables = [
        part.weight
        for part in teacher.modules()
        if isinstance(part, nn.Embedding) and part.embedding_dim == wide
    ]
    if not tables:
        return spread(wide, narrow)
    table = max(tables, key=lambda table: table.numel()).detach()
    return sorted(table.norm(dim=0).topk(narrow).indices.tolist())


def _heads(count: int, width: int, fewer: int, narrower: int) -> list[int]:
    """Return the places of heads, and of numbers within each, evenly spread."""
    inside = spread(width, narrower)
    return [head * width + place for head in spread(count, fewer) for place in inside]


def _heaviest(
    state: Mapping[str, torch.Tensor], name: str, blocks: str, wide: int, narrow: int
) -> list[int]:
    """Return the inner neurons of a block whose weights are longest, summed over its layers."""
    place = name.removeprefix(f"{blocks}.").partition(".")[0]
    lengths = torch.zeros(wide)
    for key, tensor in state.items():
        if key.startswith(f"{blocks}.{place}.") and tensor.dim() == 2:
            for axis in range(2):
                if tensor.shape[axis] == wide:
                    lengths += tensor.norm(dim=1 - axis)
    return sorted(lengths.topk(narrow).indices.tolist())
