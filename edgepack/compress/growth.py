"""Gives work that pruning saved back to a model, as wider or as more layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepack.errors import ModelError
from edgepack.model.attention import blocks_of
from edgepack.model.edits import replay
from edgepack.model.edits.insert import feed_of
from edgepack.types import Insert

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

ROUND = 8
"""Neurons come in multiples of this, which is what kernels compute at once."""


def compensated(pruned: Model, whole: Model, by: str, context: Context) -> Model:
    """Return a pruned model grown to about the multiply-adds of the whole one, and no more.

    Its answers are as before: what is new gives nothing until it is trained.

    Args:
        pruned: the model to grow.
        whole: the model before.
        by: ``width`` for more neurons in each block, ``depth`` for more blocks.
        context: hears the decision.

    Raises:
        ModelError: E469 when the model has no blocks that can grow.
    """
    name = blocks_of(pruned.module)
    blocks = pruned.module.get_submodule(name) if name else ()
    if not name or any(feed_of(block) is None for block in blocks):
        raise ModelError(
            "E469",
            "the model cannot be grown to compensate",
            why="it has no list of blocks with a feed-forward part",
            fix="leave out `compensate`",
        )
    saved = _work(whole) - _work(pruned)
    edits: Sequence[Insert]
    if by == "width":
        one = [Insert(module=f"{name}.{place}", neurons=ROUND) for place in range(len(blocks))]
        times = int(saved / max(1, _work(replay(pruned, one)) - _work(pruned)))
        edits = (
            [edit.model_copy(update={"neurons": times * ROUND}) for edit in one] if times else []
        )
    else:
        once = [Insert(module=name, layers=(len(blocks) - 1,))]
        times = int(saved / max(1, _work(replay(pruned, once)) - _work(pruned)))
        edits = [Insert(module=name, layers=(len(blocks) - 1,) * times)] if times else []
    grown = replay(pruned, edits)
    context.events.decision(
        {
            "compensated_by": by,
            "neurons_added" if by == "width" else "layers_added": times * ROUND
            if by == "width"
            else times,
            "multiply_adds": {"before": _work(whole), "after": _work(grown)},
        }
    )
    if not edits:
        context.events.note("the work saved is less than the smallest growth: nothing was added")
    else:
        context.events.note("what was added gives nothing yet: train the model after this")
    return grown


def _work(model: Model) -> int:
    work: int = model.facts()["multiply_adds"]
    return work
