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
        raise _fixed("it has no list of blocks with a feed-forward part")
    grow = _wider if by == "width" else _deeper
    try:
        step = _work(replay(pruned, grow(name, len(blocks), 1))) - _work(pruned)
        times = (_work(whole) - _work(pruned)) // max(1, step)
        grown = replay(pruned, grow(name, len(blocks), times)) if times else pruned
    except ModelError as problem:
        if problem.code not in {"E429", "E433"}:
            raise
        raise _fixed(problem.why) from problem
    context.events.decision(
        {
            "compensated_by": by,
            **({"neurons_added": times * ROUND} if by == "width" else {"layers_added": times}),
            "multiply_adds": {
                "before": _work(whole),
                "pruned": _work(pruned),
                "after": _work(grown),
            },
        }
    )
    if not times:
        context.events.note("the work saved is less than the smallest growth: nothing was added")
    else:
        context.events.note("what was added gives nothing yet: train the model after this")
    return grown


def _wider(name: str, count: int, times: int) -> Sequence[Insert]:
    """Return the edits that give each block some rounds of neurons more."""
    return [Insert(module=f"{name}.{place}", neurons=times * ROUND) for place in range(count)]


def _deeper(name: str, count: int, times: int) -> Sequence[Insert]:
    """Return the edit that puts some layers behind the last one."""
    return [Insert(module=name, layers=(count - 1,) * times)]


def _fixed(why: str) -> ModelError:
    return ModelError(
        "E469", "the model cannot be grown to compensate", why=why, fix="leave out `compensate`"
    )


def _work(model: Model) -> int:
    work: int = model.facts()["multiply_adds"]
    return work
