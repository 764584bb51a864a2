"""Holds an exported graph against the torch model it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepack.base import Session
from edgepack.errors import ModelError
from edgepack.graph.agreement import agreement
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model

LIMIT = 1e-4
"""Largest difference from torch, relative to the largest magnitude of an output."""


class Parity(Frozen):
    """How far the graph stands from torch: one difference for each assignment of sizes."""

    sizes: tuple[dict[str, int], ...]
    relative: tuple[float, ...]


def hold(model: Model, session: Session, seed: int) -> Parity:
    """Feed both the same at up to three sizes of the dynamic axes.

    Raises:
        ModelError: E437 when the graph answers otherwise than torch.
    """
    sizes = _sizes(model)
    found = []
    for chosen in sizes:
        feed = model.sized(chosen, seed)
        expected = model.run(feed)
        apart = agreement(expected, session.run(feed)).relative
        if not apart <= LIMIT:
            raise _apart(apart, chosen)
        found.append(apart)
    return Parity(sizes=sizes, relative=tuple(found))


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


def _apart(relative: float, sizes: dict[str, int]) -> ModelError:
    where = ", ".join(f"{axis} {size}" for axis, size in sizes.items())
    return ModelError(
        "E437",
        f"the exported graph stands {relative:.2g} from torch, and may stand {LIMIT:.0e}",
        where=where,
        why="relative to the largest magnitude of an output; inf is another shape or type",
        fix="look for randomness, state or branches on values in the model's forward",
    )
