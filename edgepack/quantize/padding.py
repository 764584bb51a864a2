"""Shows that an additive mask of attention says which keys are padding, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepack.errors import ModelError
from edgepack.graph.examples import example_inputs, workable_sizes
from edgepack.graph.prefix import exposed

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.graph import Graph
    from edgepack.types import Array, Tensors, TensorSpec

MASKED = -1e4
"""What is added to the score of a key that is padding, or less."""
DRAWS = 3
"""Random masks that are tried at each assignment of sizes."""
RANK = 2
"""Of an input [batch, sequence]."""


class Padding:
    """Answers for masks of one graph; each is looked into once.

    The mask is computed from random zeros and ones in one of the graph's inputs, while all others
    take made-up values that change as well. It must be 0 where a key is kept and at most `MASKED`
    where it is not, for every head and query alike.
    """

    def __init__(self, graph: Graph, context: Context) -> None:
        self._graph, self._context = graph, context
        self._known: dict[str, str | None] = {}

    def kept(self, mask: str | None) -> str | None:
        """Return the input that is 1 where a key is kept; None where none is shown to be."""
        assert mask is not None
        if mask not in self._known:
            self._known[mask] = self._sought(mask)
        return self._known[mask]

    def _sought(self, mask: str) -> str | None:
        specs = [
            spec
            for spec in self._graph.inputs
            if len(spec.shape) == RANK and spec.dtype in {"bool", "int32", "int64", "float32"}
        ]
        try:
            shapes = workable_sizes(self._graph, self._context.runner, self._context.seed)
            with self._context.runner.open(exposed(self._graph, [mask])) as session:
                for spec in sorted(specs, key=lambda one: "mask" not in one.name.lower()):
                    drawn = [self._draw(spec, sizes, n) for sizes in shapes for n in range(DRAWS)]
                    if drawn and all(
                        _says(session.run(feed, (mask,))[mask], feed[spec.name]) for feed in drawn
                    ):
                        return spec.name
        except ModelError:
            return None
        return None

    def _draw(self, spec: TensorSpec, sizes: dict[str, int], turn: int) -> Tensors:
        """Make up inputs, with random zeros and ones for one, at least one 1 a row."""
        feed = dict(example_inputs(self._graph.inputs, self._context.seed + turn, sizes))
        rng = np.random.default_rng([self._context.seed, turn])
        drawn = rng.integers(0, 2, feed[spec.name].shape)
        drawn[:, turn % drawn.shape[1]] = 1
        return {**feed, spec.name: drawn.astype(spec.dtype)}


def _says(mask: Array, kept: Array) -> bool:
    """Whether a mask [batch or 1, heads or 1, queries or 1, keys] is what `kept` says of keys."""
    if mask.ndim != 4 or mask.shape[-1] != kept.shape[1] or mask.shape[0] != kept.shape[0]:
        return False
    wanted = np.broadcast_to((kept != 0)[:, None, None, :], mask.shape)
    return bool(np.all(mask[wanted] == 0) and np.all(mask[~wanted] <= MASKED))
