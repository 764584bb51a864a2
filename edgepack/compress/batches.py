"""Samples as batches for torch: inputs in the model's order, and labels where there are some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgepack.errors import UsageError
from edgepack.types import Samples

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Array, Tensors


@dataclass(frozen=True)
class Batches:
    """Samples read once, from which batches are put together.

    Attributes:
        feeds: inputs by name, one run a sample, each with a leading axis of 1.
        names: of the model's inputs, in their order.
        labels: classes [n] as int64 or values [n, ...] as float32; None where samples have none.
    """

    feeds: Sequence[Tensors]
    names: tuple[str, ...]
    labels: torch.Tensor | None

    @classmethod
    def of(cls, model: Model, samples: Samples, *, labelled: bool, most: int = 0) -> Batches:
        """Read samples for a model.

        Args:
            model: names the inputs.
            samples: one run each.
            labelled: whether every sample must have a label.
            most: how many of them to read; all for 0.

        Raises:
            UsageError: E264 for samples with several runs or without the label that is needed, E265
                for labels of mixed kinds.
        """
        feeds, labels = [], []
        for place, sample in enumerate(samples):
            if most and place == most:
                break
            if len(sample.inputs) != 1 or (labelled and sample.label is None):
                several = len(sample.inputs) != 1
                raise unfit("it has several runs" if several else "it has no label", place)
            feeds.append(sample.inputs[0])
            labels.append(sample.label)
        known = bool(labels) and all(label is not None for label in labels)
        names = tuple(spec.name for spec in model.inputs)
        return cls(feeds, names, _labels(labels) if labelled or known else None)

    def __len__(self) -> int:
        return len(self.feeds)

    def inputs(self, places: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """Return the inputs of the samples at some places, as one batch.

        Raises:
            UsageError: E266 when their shapes differ and no mask says what is padding.
        """
        padded = any("mask" in name for name in self.names)
        rows = [self.feeds[place] for place in places]
        return tuple(torch.from_numpy(_stack([r[n] for r in rows], padded)) for n in self.names)

    def answers(self, places: Sequence[int]) -> torch.Tensor:
        """Return the labels of the samples at some places."""
        assert self.labels is not None
        return self.labels[list(places)]

    def each(self, size: int) -> Iterator[tuple[tuple[torch.Tensor, ...], range]]:
        """Yield all inputs in their order, `size` samples a batch, with their places."""
        for first in range(0, len(self), size):
            places = range(first, min(first + size, len(self)))
            yield self.inputs(places), places


def _labels(labels: list[Any]) -> torch.Tensor:
    """Return classes [n] as int64, or values as float32."""
    try:
        array = np.stack([np.asarray(label) for label in labels])
    except ValueError as problem:
        raise _mixed(str(problem)) from problem
    if array.dtype.kind in "iub" and array.size == len(labels):
        return torch.from_numpy(array.reshape(-1).astype(np.int64))
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))
    raise _mixed(f"they are {array.dtype} of shape {list(array.shape[1:])}")


def unfit(why: str, place: int | None = None) -> UsageError:
    """Say why a split cannot be trained on, and which sample shows it."""
    return UsageError(
        "E264",
        "the training data cannot be trained on",
        where="train" if place is None else f"train, sample {place}",
        why=why,
        fix="give every sample one input and one label",
    )


def _mixed(why: str) -> UsageError:
    return UsageError(
        "E265",
        "the labels are neither classes nor values",
        where="train",
        why=why,
        fix="label every sample with one whole number, or with floats of one shape",
    )


def _stack(arrays: Sequence[Array], padded: bool) -> Array:
    """Join inputs along their batch axis; shorter ones are filled with zeros behind a mask."""
    shapes = {array.shape for array in arrays}
    if len(shapes) == 1:
        return np.concatenate(arrays)
    if not padded or len({array.ndim for array in arrays}) > 1:
        raise UsageError(
            "E266",
            "the training inputs have different shapes",
            where="train",
            why=", ".join(str(list(shape)) for shape in sorted(shapes)[:3]),
            fix="bring all to one shape, or set batch_size = 1",
        )
    full = np.max([array.shape for array in arrays], axis=0)[1:]
    fill = [[(0, 0), *((0, f - n) for f, n in zip(full, a.shape[1:], strict=True))] for a in arrays]
    return np.concatenate([np.pad(a, f) for a, f in zip(arrays, fill, strict=True)])
