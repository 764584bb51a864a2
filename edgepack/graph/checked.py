"""Holds a rewritten graph against the original: it is kept only where the answers agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from edgepack.graph import match
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.graph import Graph


class Rewritten(Frozen):
    """Nodes that were rewritten, and those that stay, with the reason."""

    applied: tuple[str, ...]
    refused: dict[str, str]


def settled(
    before: Graph,
    after: Graph,
    applied: Iterable[str],
    refused: Mapping[str, str],
    context: Context,
) -> Graph:
    """Record which nodes were rewritten, and return the rewritten graph if it may stand."""
    names, reasons = tuple(applied), dict(refused)
    if names:
        match.drop_unused(after.model.graph)
        if why := objection(before, after, context):
            names, reasons = (), {**reasons, **dict.fromkeys(names, why)}
    context.events.decision(Rewritten(applied=names, refused=reasons))
    return after if names else before


def difference(before: Graph, after: Graph, context: Context) -> tuple[int, float | None]:
    """Compare two graphs on made-up inputs, at up to three assignments of sizes.

    Returns:
        At how many assignments they were compared, and the largest relative difference; None where
        no sizes could be guessed, infinite where inputs or outputs are no longer the same.

    Raises:
        ModelError: E420 to E423 as the runner does.
    """
    from edgepack.graph.agreement import agreement
    from edgepack.graph.examples import example_inputs, workable_sizes

    names = [[(v.name, v.dtype) for v in graph.outputs] for graph in (before, after)]
    if before.inputs != after.inputs or names[0] != names[1]:
        return 0, float("inf")
    shapes = workable_sizes(before, context.runner, context.seed)
    samples = [example_inputs(before.inputs, context.seed, sizes) for sizes in shapes]
    with context.runner.open(before) as old, context.runner.open(after) as new:
        apart = [agreement(old.run(x), new.run(x)).relative for x in samples]
    return len(shapes), max(apart, default=None)


def objection(before: Graph, after: Graph, context: Context) -> str:
    """Say why a rewritten graph may not stand for the original; nothing where it may."""
    from edgepack.errors import ModelError

    try:
        _, apart = difference(before, after, context)
    except ModelError as problem:
        if problem.code != "E420":
            raise
        return f"{problem.what} after it: {problem.why}"
    if apart is None:
        return "its inputs' sizes could not be guessed to check the result"
    limit = before.tolerance.relative
    return "" if apart <= limit else f"the answers would move by {apart:.2g}, over {limit:g}"
