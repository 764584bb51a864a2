"""Makes inputs up where the user gives none: enough to compare two graphs, never to score one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgepack.types import Sample, TensorSpec, digest_of

if TYPE_CHECKING:
    from edgepack.types import Array

VERSION = 1
"""Raised when the same specs and seed would give other inputs."""
TOKENS = 10
"""Integers lie below this where no vocabulary is known; every table has as many rows."""
CHANNELS, SIDE, LENGTH = 3, 32, 16
"""Sizes of free axes: a picture's channels, height and width, and any sequence."""


@dataclass(frozen=True)
class Generated:
    """Samples drawn from a seed; each is the same whenever it is asked for.

    Attributes:
        inputs: what the model takes.
        seed: seeds every sample together with its index.
        count: how many there are.
        sizes: size of each free axis by its name.
        vocabulary: integers lie below it.
    """

    inputs: tuple[TensorSpec, ...]
    seed: int
    count: int
    sizes: Mapping[str, int]
    vocabulary: int

    generated = True

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides the samples."""
        specs = [spec.model_dump(mode="json") for spec in self.inputs]
        drawn = [self.seed, self.count, dict(self.sizes), self.vocabulary]
        return digest_of("generated", VERSION, specs, drawn)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        for index in range(self.count):
            source = np.random.default_rng([self.seed, index])
            yield Sample(({spec.name: self._draw(spec, source) for spec in self.inputs},))

    def _draw(self, spec: TensorSpec, source: np.random.Generator) -> Array:
        shape = [n if isinstance(n, int) else self.sizes[n] for n in spec.shape]
        if "mask" in spec.name:
            return np.ones(shape, spec.dtype)
        if spec.dtype.startswith("float"):
            return source.standard_normal(shape).astype(spec.dtype)
        if "type" in spec.name:  # token types: a model may know but one
            return np.zeros(shape, spec.dtype)
        if spec.dtype == "bool":
            return source.integers(0, 2, shape).astype(np.bool_)
        return source.integers(0, min(self.vocabulary, _most(spec)), shape).astype(spec.dtype)


def generate(
    inputs: Sequence[TensorSpec],
    seed: int,
    count: int,
    sizes: Mapping[str, int] | None = None,
    *,
    vocabulary: int = TOKENS,
) -> Generated:
    """Return `count` samples that fit the inputs: normal floats, small integers, masks of ones.

    Args:
        inputs: what the model takes.
        seed: decides every value.
        count: how many samples.
        sizes: sizes of free axes by name; the others are 1 for a batch, 3 for a picture's
            channels, 32 for its height and width, 16 for anything else.
        vocabulary: integers lie below it.
    """
    chosen: dict[str, int] = {}
    for spec in inputs:
        for axis, name in enumerate(spec.shape):
            if isinstance(name, str):
                chosen.setdefault(name, _size(spec, axis))
    return Generated(tuple(inputs), seed, count, {**chosen, **(sizes or {})}, vocabulary)


def _size(spec: TensorSpec, axis: int) -> int:
    if axis == 0:
        return 1
    if len(spec.shape) == 4 and spec.dtype.startswith("float"):
        return CHANNELS if axis == 1 else SIDE
    return LENGTH


def _most(spec: TensorSpec) -> int:
    return int(np.iinfo(spec.dtype).max)
