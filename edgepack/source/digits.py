"""The builtin model: a small convnet, trained in seconds on scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgepack.types import Asset, Sample, Samples, Split, TensorSpec, digest_of

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model
    from edgepack.types import Array

RANGES: dict[Split, tuple[int, int]] = {
    "train": (0, 1437),
    "calibration": (0, 128),
    "evaluation": (1437, 1797),
}
"""Places of each split in one shuffling; calibration is a part of train."""

INPUT = TensorSpec(name="image", dtype="float32", shape=("batch", 1, 8, 8))


@cache
def pictures() -> tuple[Array, Array]:
    """Return all 1,797 pictures [n, 1, 8, 8], 0 to 1, and their labels [n], shuffled once."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = (digits.images[order, None] / 16).astype(np.float32)
    return images, digits.target[order].astype(np.int64)


@dataclass(frozen=True)
class DigitsSamples:
    """A split of the digits."""

    split: Split
    generated: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 over the split and the package that holds the pictures."""
        return digest_of("digits", self.split, list(RANGES[self.split]), _package())

    def __len__(self) -> int:
        first, last = RANGES[self.split]
        return last - first

    def __iter__(self) -> Iterator[Sample]:
        images, labels = pictures()
        for place in range(*RANGES[self.split]):
            yield Sample(({INPUT.name: images[place : place + 1]},), int(labels[place]))


def _package() -> str:
    """Return the version of the package that holds the pictures; nothing where it is missing."""
    try:
        return version("scikit-learn")
    except PackageNotFoundError:
        return ""


class DigitsSource:
    """``builtin:digits``: a residual convnet of 0.24 M parameters, about 99 % right.

    Args:
        seed: of its weights and of the order of training.
    """

    name = "digits"
    gives: Literal["model", "graph"] = "model"
    tokenizer: Path | None = None
    assets: tuple[Asset, ...] = ()
    metric = "accuracy"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._trained: Model | None = None
        self.digest = digest_of("digits", seed, DigitsSamples("train").digest)
        self.data: Mapping[Split, Samples] = {split: DigitsSamples(split) for split in RANGES}

    def load(self, context: Context) -> Model:
        """Return the trained model; it is trained once for each source."""
        from edgepack.source.digits_net import trained

        if self._trained is None:
            first, last = RANGES["train"]
            images, labels = pictures()
            self._trained = trained(
                self._seed, images[first:last], labels[first:last], context.events
            )
        return self._trained.copy()

    def fresh(self, context: Context) -> Model:
        """Return the model with untrained weights."""
        from edgepack.source.digits_net import untrained

        return untrained(self._seed)
