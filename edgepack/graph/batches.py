"""Runs samples together where that changes nothing but the time it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgepack.base import Session
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
"""Runs that are held to find equals among them."""
ALIKE = 1e-4
"""How far an answer may move, relative to its largest value, when others are computed beside it."""
ALONE = {"w8-dynamic", "quantised"}
"""Schemes that measure a whole batch before they quantise it: company would change the answer."""


@dataclass
class Batches:
    """Feeds a session as many runs at once as its graph can take; see `answered`.

    Attributes:
        session: the loaded graph.
        size: runs at once; it falls to 1 when the first batch answers otherwise than its runs.
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

        Runs of equal shapes, among `WINDOW` that follow each other, go together; none is padded.
        A state is handed on from run to run, so samples that have one go alone.
        """
        rest = iter(samples)
        while window := list(islice(rest, WINDOW)):
            if self.size == 1 or any(sample.state for sample in window):
                yield from ((sample, list(answers(self.session, sample))) for sample in window)
                continue
            runs = [run for sample in window for run in sample.inputs]
            found = iter(zip(runs, self._found(runs), strict=True))
            yield from ((sample, list(islice(found, len(sample.inputs)))) for sample in window)

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
        if len(runs) == 1 or self.size == 1:
            return [self.session.run(run) for run in runs]
        feed = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
        whole = self.session.run(feed)
        if all(value.shape[:1] == (len(runs),) for value in whole.values()):
            apart = [{n: v[i : i + 1] for n, v in whole.items()} for i in range(len(runs))]
            if self.proven or self._prove(runs[-1], apart[-1]):
                return apart
        self.size = 1
        return [self.session.run(run) for run in runs]

    def _prove(self, run: Tensors, got: dict[str, Array]) -> bool:
        """Hold a run's answer in company against its answer alone, once."""
        self.proven = agreement(self.session.run(run), got).relative <= ALIKE
        return self.proven
