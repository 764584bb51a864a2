"""Says where a graph leaves the float one it was made from: the layer, not only the outputs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from edgepack.base import Events, Runner
from edgepack.graph.difference import TOGETHER, Apart, Pair, apart
from edgepack.graph.prefix import Layer, exposed, layers
from edgepack.types import EXACT_INT8, Frozen, Samples, SessionSettings

if TYPE_CHECKING:
    from edgepack.graph import Graph
    from edgepack.types import Tensors

ALIKE = 0.99
"""Cosine below which a layer is told of: what `cosine` asks of the outputs by default."""
READ, WRITTEN = "_DequantizeLinear_Output", "_QuantizeLinear_Output"
"""What the quantiser appends to a tensor's name: as floats again, and as bytes."""
SAMPLES = 4
SECONDS = 60.0


class Profile(Frozen):
    """How far each layer that two graphs share stands apart, in the order of computing.

    Attributes:
        layers: every layer that was compared.
        cut_short: why not all were; empty where they were.
    """

    layers: tuple[Apart, ...]
    cut_short: str = ""

    @property
    def first(self) -> int | None:
        """Place of the first layer whose cosine is below `ALIKE`."""
        return next((i for i, one in enumerate(self.layers) if one.cosine < ALIKE), None)

    @property
    def steepest(self) -> tuple[Apart, Apart] | None:
        """The layer at which the cosine falls most, behind the one before it."""
        return max(pairwise(self.layers), key=lambda p: p[0].cosine - p[1].cosine, default=None)

    def __str__(self) -> str:
        told = []
        if self.first is not None:
            one = self.layers[self.first]
            told.append(
                f"first below {ALIKE} at `{one.node}` ({one.operator}; cosine {one.cosine:.4g}, "
                f"{one.decibel:.3g} dB); {self.first} of {len(self.layers)} compared agree before"
            )
        if (steps := self.steepest) and steps[0].cosine > steps[1].cosine:
            told.append(
                f"largest step at `{steps[1].node}` "
                f"(cosine {steps[0].cosine:.4g} to {steps[1].cosine:.4g})"
            )
        return "; ".join(
            told + ([f"cut short: {self.cut_short}"] if told and self.cut_short else [])
        )


def explain_fidelity(
    baseline: Graph, graph: Graph, samples: Samples, runner: Runner, events: Events
) -> str:
    """Return a sentence on the layers at which a graph leaves its float baseline.

    It is empty where nothing can be said; an explanation that fails is none.
    """
    try:
        feeds = [sample.inputs[0] for sample in islice(samples, SAMPLES)]
        return str(profile(baseline, graph, feeds, runner, events))
    except Exception as problem:  # noqa: BLE001  the gate is the news, whatever fails here
        events.note(f"which layer it is could not be found: {problem}")
        return ""


def profile(
    baseline: Graph,
    graph: Graph,
    feeds: Sequence[Tensors],
    runner: Runner,
    events: Events,
    seconds: float = SECONDS,
) -> Profile:
    """Measure every layer that bears the same name in both graphs.

    Layers are laid open, so no kernel spans more than one: what is compared is what the layers
    compute by themselves, from inputs as they are by then.

    Args:
        baseline: the float graph.
        graph: what was made of it; what is quantised is compared after it is rounded.
        feeds: inputs, one run each.
        runner: runs both.
        events: takes progress.
        seconds: when to stop.

    Raises:
        ModelError: when one of the two does not run.
    """
    pairs = shared(baseline, graph)
    end = time.monotonic() + seconds
    found: list[Apart] = []
    open_a, open_b = (
        exposed(baseline, [one for _, one, _ in pairs]),
        exposed(graph, [other for _, _, other in pairs]),
    )
    exact = SessionSettings(entries=EXACT_INT8)
    with runner.open(open_a) as a, runner.open(open_b, exact) as b:
        for start in range(0, len(pairs), TOGETHER):
            if time.monotonic() > end:
                short = f"{len(found)} of {len(pairs)} layers in {seconds:.0f} s"
                return Profile(layers=tuple(found), cut_short=short)
            found += apart(a, b, pairs[start : start + TOGETHER], feeds)
            events.progress("explain", min(start + TOGETHER, len(pairs)), len(pairs))
    return Profile(layers=tuple(found))


def shared(baseline: Graph, graph: Graph) -> tuple[Pair, ...]:
    """Pair the layers of two graphs by name; a quantised tensor counts as what it is read as."""
    ours, theirs = _read_as(baseline), _read_as(graph)
    return tuple((ours[n], ours[n].tensor, theirs[n].tensor) for n in ours if n in theirs)


def _read_as(graph: Graph) -> dict[str, Layer]:
    """Name each layer by its tensor before it was quantised; bytes and scales are left out."""
    found = layers(graph)
    names = {layer.tensor for layer in found}
    read = {}
    for layer in found:
        stem = layer.tensor.removesuffix(READ)
        if layer.tensor.endswith(WRITTEN) or stem + READ in names - {layer.tensor}:
            continue
        read[stem] = layer
    return read
