"""Where two runs of a model part: the first tensor that differs, and by how much."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgepack.base import Session
from edgepack.graph.agreement import Agreement, agreement, decibel
from edgepack.graph.prefix import Layer
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.types import Tensors

TOGETHER = 16
"""Tensors fetched in one run: what lies open at once must fit into memory."""

Pair: TypeAlias = tuple[Layer, str, str]
"""A layer, and the names of its tensor on either side."""


class Difference(Frozen):
    """A tensor on which two graphs differ.

    Attributes:
        tensor: its name.
        node: the node that made it, and its `operator`.
        relative: largest absolute difference over the largest expected magnitude; infinite where
            shapes or types differ.
        cosine: smallest over the samples.
        agreeing: tensors before it that agree.
        compared: tensors that were looked at in all.
        cut_short: why not all that there is was looked at; empty where it was.
    """

    tensor: str
    node: str
    operator: str
    relative: float
    cosine: float
    agreeing: int
    compared: int
    cut_short: str = ""

    def __str__(self) -> str:
        far = f"relative {self.relative:.2g}, cosine {self.cosine:.4g}"
        if not np.isfinite(self.relative):
            far = "another shape or type, or not finite"
        short = f"; cut short: {self.cut_short}" if self.cut_short else ""
        return (
            f"first differs at `{self.node}` ({self.operator}; {far}); "
            f"{self.agreeing} of {self.compared} compared agree before it{short}"
        )


class Apart(Frozen):
    """How far one layer stands apart, the worst of the samples.

    Attributes:
        decibel: power of the expected values over that of the difference (SQNR), over all samples.
    """

    tensor: str
    node: str
    operator: str
    relative: float
    cosine: float
    decibel: float


def first_difference(
    a: Session,
    b: Session,
    pairs: Sequence[Pair],
    feeds: Sequence[Tensors],
    differs: Callable[[Agreement], bool],
    seconds: float = 60.0,
) -> Difference | None:
    """Compare layer after layer and stop at the first that differs; None where none does."""
    agreeing, end = 0, time.monotonic() + seconds
    for start in range(0, len(pairs), TOGETHER):
        group = pairs[start : start + TOGETHER]
        for one in apart(a, b, group, feeds):
            found = Agreement(exact=False, relative=one.relative, cosine=one.cosine)
            if differs(found):
                return Difference(
                    **one.model_dump(exclude={"decibel"}),
                    agreeing=agreeing,
                    compared=len(pairs),
                )
            agreeing += 1
        if time.monotonic() > end:
            break
    return None


def apart(
    a: Session, b: Session, pairs: Sequence[Pair], feeds: Sequence[Tensors]
) -> tuple[Apart, ...]:
    """Run both on the same inputs and measure how far each layer stands apart.

    Args:
        a: what is right.
        b: what is held against it.
        pairs: layers, with their names on either side.
        feeds: inputs, one run each.
    """
    worst = {layer: (0.0, 1.0) for layer, _, _ in pairs}
    power = {layer: np.zeros(2) for layer, _, _ in pairs}
    for start in range(0, len(pairs), TOGETHER):
        group = pairs[start : start + TOGETHER]
        for feed in feeds:
            expected = a.run(feed, tuple(dict.fromkeys(one for _, one, _ in group)))
            got = b.run(feed, tuple(dict.fromkeys(other for _, _, other in group)))
            for layer, one, other in group:
                found = agreement({"": expected[one]}, {"": got[other]})
                relative, cosine = worst[layer]
                worst[layer] = max(relative, found.relative), min(cosine, found.cosine)
                if np.shape(expected[one]) == np.shape(got[other]):
                    wide = np.asarray(expected[one], np.float64)
                    noise = wide - np.asarray(got[other], np.float64)
                    power[layer] += np.sum(wide * wide), np.sum(noise * noise)
    return tuple(
        Apart(
            **layer._asdict(),
            relative=worst[layer][0],
            cosine=worst[layer][1],
            decibel=decibel(*power[layer]),
        )
        for layer, _, _ in pairs
    )
