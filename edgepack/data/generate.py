"""Samples made up where the user gives none: enough to compare two graphs, never to score one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgepack.graph.examples import example_inputs
from edgepack.types import Sample, TensorSpec, digest_of

VERSION = 1
"""Raised when the same specs and seed would give other inputs."""


@dataclass(frozen=True)
class Generated:
    """Samples drawn from a seed; each is the same whenever it is asked for.

    Attributes:
        inputs: what the model takes.
        seed: decides every value, together with a sample's index.
        count: how many there are.
        sizes: sizes of free axes by name, where the usual ones do not do.
        state: input -> output of the run before; such inputs are zeros.
    """

    inputs: tuple[TensorSpec, ...]
    seed: int
    count: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)

    generated = True

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides the samples."""
        specs = [spec.model_dump(mode="json") for spec in self.inputs]
        sizes, state = dict(self.sizes), dict(self.state)
        return digest_of("generated", VERSION, specs, self.seed, self.count, sizes, state)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        for index in range(self.count):
            # Seeds that differ share no sample.
            seed = (self.seed << 20) + index
            drawn = example_inputs(self.inputs, seed, self.sizes)
            run = {n: np.zeros_like(v) if n in self.state else v for n, v in drawn.items()}
            yield Sample((run,), state=self.state)


def generate(
    inputs: Sequence[TensorSpec],
    seed: int,
    count: int,
    sizes: Mapping[str, int] | None = None,
    state: Mapping[str, str] | None = None,
) -> Generated:
    """Return `count` samples that fit the inputs (see `graph.examples.example_inputs`)."""
    return Generated(tuple(inputs), seed, count, dict(sizes or {}), dict(state or {}))
