"""How faithful a graph is to the one it was made from, on the same samples; never judges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Events, Runner
from edgepack.errors import MeasurementError
from edgepack.graph.agreement import agreement, flipped, sqnr
from edgepack.graph.batches import Batches
from edgepack.types import Frozen, Sample, Samples, SessionSettings

if TYPE_CHECKING:
    from edgepack.graph import Graph
    from edgepack.types import Tensors


class Fidelity(Frozen):
    """A graph's answers against the baseline's.

    Attributes:
        cosine: mean over the samples of the cosine between all float outputs, flattened; a sample
            of two runs counts with the mean of both.
        cosine_worst: the smallest of a sample.
        decibel: mean over the samples of the power of the answers over that of their difference
            (SQNR); 200 where there is none.
        flips: samples whose largest logit is another class; None where the first output is not
            [1, classes] or the labels are no classes.
        samples: how many were compared.
        generated: they were made up.
    """

    cosine: float
    cosine_worst: float
    flips: int | None
    samples: int
    generated: bool
    decibel: float = 200.0


def compare(
    baseline: Graph | Path,
    graph: Graph | Path,
    samples: Samples,
    runner: Runner,
    events: Events,
    settings: SessionSettings | None = None,
) -> Fidelity:
    """Run both graphs on every sample.

    Args:
        baseline: the float graph of the model as it came in, loaded in the default way.
        graph: what was made of it.
        samples: labels serve only to tell classes from embeddings.
        runner: runs both.
        events: takes progress.
        settings: how `graph` is loaded.

    Raises:
        MeasurementError: E501 when there are no samples, E502 when the outputs differ in name.
        ModelError: when a graph does not run.
    """
    cosines: list[float] = []
    decibels: list[float] = []
    flips: list[bool | None] = []
    total = len(samples)
    with runner.open(baseline) as before, runner.open(graph, settings) as after:
        one, two = tee(samples)
        wanted = Batches.of(before, baseline).answered(one)
        given = Batches.of(after, graph).answered(two)
        for done, ((sample, expected), (_, got)) in enumerate(zip(wanted, given, strict=True), 1):
            pairs = [(a, b) for (_, a), (_, b) in zip(expected, got, strict=True)]
            if lost := set(pairs[0][0]) - set(pairs[0][1]):
                raise MeasurementError(
                    "E502",
                    f"the graph no longer answers `{min(lost)}`",
                    fix="leave the model's outputs as they are; check the last pass",
                )
            cosines.append(float(np.mean([agreement(a, b).cosine for a, b in pairs])))
            decibels.append(float(np.mean([sqnr(a, b) for a, b in pairs])))
            flips.append(_flipped(sample, pairs))
            events.progress("compare", done, total)
    if not cosines:
        raise MeasurementError(
            "E501", "there are no samples to compare on", fix="give at least one sample"
        )
    known = [flip for flip in flips if flip is not None]
    return Fidelity(
        cosine=float(np.mean(cosines)),
        cosine_worst=min(cosines),
        flips=sum(known) if len(known) == len(flips) else None,
        samples=len(cosines),
        generated=samples.generated,
        decibel=float(np.mean(decibels)),
    )


def _flipped(sample: Sample, pairs: Sequence[tuple[Tensors, Tensors]]) -> bool | None:
    """Say whether the class changed; None where nothing says that the answer is a class."""
    if len(pairs) != 1 or not isinstance(sample.label, int):
        return None
    name = next(iter(pairs[0][0]))
    return flipped(*(np.asarray(side[name]) for side in pairs[0]))
