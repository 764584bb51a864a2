"""Runs samples together where that changes nothing but the time it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgepack.base import Session
from edgepack.errors import ModelError
from edgepack.graph.agreement import agreement
from edgepack.graph.sequence import answers
from edgepack.graph.value import Graph
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.types import Array, Tensors

    Answered: TypeAlias = tuple[Tensors, dict[str, Array]]

TOGETHER = 16
"""Runs that are fed at once: float MiniLM was scored 2.2 times as fast so, digits 3.5 times."""
WINDOW = 64
"""Samples that are held to find equal shapes among them."""
MEMORY = 64 << 20
"""Bytes of inputs and answers that are held at once; what is larger goes alone."""
ALIKE = 1e-4
"""How far an answer may move, relative to its largest value, when others are computed beside it."""
ALONE = {"w8-dynamic", "quantised"}
"""Schemes that measure a whole batch before they quantise it: company would change the answer."""
REFUSED = "E424"
"""The error of a session that lives on."""


@dataclass
class Batches:
    """Feeds a session as many runs at once as its graph can take; see `answered`.

    Attributes:
        session: the loaded graph.
        size: runs at once; it falls to 1 when a batch is refused, or answers otherwise than its
            runs do alone.
        proven: a batch was held against a run alone, and agreed.
    """

    session: Session
    size: int
    proven: bool = False

    @classmethod
    def of(cls, session: Session, graph: Graph | Path) -> Batches:
        """Allow batches where every input and output begins with an axis that is free."""
        if not isinstance(graph, Graph) or graph.scheme in ALONE:
            return cls(session, 1)
        specs = (*graph.inputs, *graph.outputs)
        free = all(spec.shape and isinstance(spec.shape[0], str) for spec in specs)
        return cls(session, TOGETHER if free else 1)

    def answered(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, list[Answered]]]:
        """Yield each sample, in order, with what each of its runs was fed and answered.

        Runs of equal shapes, among those of a window of samples, go together; none is padded. The
        first sample goes alone and tells how many fit into `MEMORY`. A state is handed on from run
        to run, so samples that have one go alone, too.
        """
        rest = iter(samples)
        window = 1
        while taken := list(islice(rest, window)):
            if window == 1 or self.size == 1 or any(sample.state for sample in taken):
                for sample in taken:
                    alone = list(answers(self.session, sample))
                    if self.size > 1:
                        window = min(WINDOW, max(1, MEMORY // max(1, _bytes(alone))))
                    yield sample, alone
                continue
            runs = [run for sample in taken for run in sample.inputs]
            found = iter(zip(runs, self._found(runs), strict=True))
            yield from ((sample, list(islice(found, len(sample.inputs)))) for sample in taken)

    def _found(self, runs: Sequence[Tensors]) -> list[dict[str, Array]]:
        """Return the answers of runs in their order."""
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for place, run in enumerate(runs):
            groups.setdefault(tuple(array.shape for array in run.values()), []).append(place)
        found: dict[int, dict[str, Array]] = {}
        for places in groups.values():
            for start in range(0, len(places), self.size):
                chunk = places[start : start + self.size]
                found |= zip(chunk, self._together([runs[i] for i in chunk]), strict=True)
        return [found[place] for place in range(len(runs))]

    def _together(self, runs: Sequence[Tensors]) -> list[dict[str, Array]]:
        if len(runs) > 1 and self.size > 1:
            apart = self._batch(runs)
            if apart and (self.proven or self._prove(runs[-1], apart[-1])):
                return apart
            self.size = 1
        return [self.session.run(run) for run in runs]

    def _batch(self, runs: Sequence[Tensors]) -> list[dict[str, Array]]:
        """Answer runs at once; nothing where the graph refuses them or mixes them up."""
        feed = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
        try:
            whole = self.session.run(feed)
        except ModelError as problem:
            if problem.code != REFUSED:
                raise
            return []
        if any(value.shape[:1] != (len(runs),) for value in whole.values()):
            return []
        return [{n: v[i : i + 1] for n, v in whole.items()} for i in range(len(runs))]

    def _prove(self, run: Tensors, got: dict[str, Array]) -> bool:
        """Hold a run's answer in company against its answer alone, once."""
        self.proven = agreement(self.session.run(run), got).relative <= ALIKE
        return self.proven


def _bytes(runs: Sequence[Answered]) -> int:
    """Count the bytes of what runs were fed and answered."""
    return sum(array.nbytes for pair in runs for side in pair for array in side.values())
