"""Holds an exported graph against the torch model it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepack.base import Runner
from edgepack.errors import ModelError
from edgepack.export.modules import first_module
from edgepack.export.trace import Exported
from edgepack.graph.agreement import agreement
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Tensors

LIMIT = 1e-4
"""Largest difference from torch, relative to the largest magnitude of an output."""
FLIPPED = 0.05
"""The same where what flows is rounded: a last bit may move a number to the level beside it."""


class Parity(Frozen):
    """How far the graph stands from torch: one difference for each assignment of sizes."""

    sizes: tuple[dict[str, int], ...]
    relative: tuple[float, ...]


def hold(model: Model, exported: Exported, seed: int, runner: Runner) -> Parity:
    """Feed both the same at up to three sizes of the dynamic axes.

    Raises:
        ModelError: E437 when the graph answers otherwise than torch, naming the first module that
            differs; E420 to E424 when it does not run.
    """
    sizes, limit = _sizes(model), FLIPPED if model.rounds else LIMIT
    found = []
    with runner.open(exported.graph) as session:
        for chosen in sizes:
            feed = model.sized(chosen, seed)
            apart = agreement(model.run(feed), session.run(feed)).relative
            if not apart <= limit:
                raise _apart(apart, limit, chosen, _first(model, exported, feed, runner, limit))
            found.append(apart)
    return Parity(sizes=sizes, relative=tuple(found))


def _first(model: Model, exported: Exported, feed: Tensors, runner: Runner, limit: float) -> str:
    """Say which module differs first; an explanation that fails must not hide what it explains."""
    try:
        found = first_module(model, exported, feed, runner, limit)
    except Exception as problem:  # noqa: BLE001  hooks run the user's module once more
        return f"which module it is could not be found: {problem}"
    return str(found) if found else ""


def _sizes(model: Model) -> tuple[dict[str, int], ...]:
    """Return the example's sizes, one more of each axis, and twice and one more of each.

    Sizes at which torch itself does not run are left out.
    """
    base = model.dynamic_axes()
    tried = [{a: n + 1 for a, n in base.items()}, {a: 2 * n + 1 for a, n in base.items()}]
    return (base, *(sizes for sizes in tried if base and _runs(model, sizes)))


def _runs(model: Model, sizes: dict[str, int]) -> bool:
    try:
        model.run(model.sized(sizes))
    except (RuntimeError, IndexError, ValueError):
        return False
    return True


def _apart(relative: float, limit: float, sizes: dict[str, int], first: str) -> ModelError:
    where = ", ".join(f"{axis} {size}" for axis, size in sizes.items())
    why = "relative to the largest magnitude of an output; inf is another shape or type"
    return ModelError(
        "E437",
        f"the exported graph stands {relative:.2g} from torch, and may stand {limit:.0e}",
        where=where,
        why=f"{first}; {why}" if first else why,
        fix="look for randomness, state or branches on values in the model's forward",
    )
