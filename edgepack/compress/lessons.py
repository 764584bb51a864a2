"""What a teacher gives: worked out once where it fits into memory, else each time anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from edgepack.compress.matching.watch import Point, Seen, watched
from edgepack.compress.objective import first

if TYPE_CHECKING:
    from edgepack.base import Events
    from edgepack.compress.batches import Batches
    from edgepack.model import Model

MOST = 1 << 30
"""Bytes that are kept at most."""
ANSWER = Point("")


class Lessons:
    """A teacher's answers to the training data, and what happens inside it.

    Args:
        teacher: in evaluation mode; nothing of it is trained.
        data: the training data.
        points: what to look at inside.
        size: samples a batch.
        events: hears of progress.
    """

    def __init__(
        self, teacher: Model, data: Batches, points: Sequence[Point], size: int, events: Events
    ) -> None:
        self._module, self._data, self._points = teacher.module, data, tuple(points)
        self._kept: dict[Point, torch.Tensor] = {}
        shapes = {tuple(feed[name].shape for name in data.names) for feed in data.feeds}
        one = self._ask(data.inputs(range(1)))
        bytes_each = sum(tensor.numel() * tensor.element_size() for tensor in one.values())
        if len(shapes) > 1 or bytes_each * len(data) > MOST:
            return
        for start in range(0, len(data), size):
            places = range(start, min(start + size, len(data)))
            for point, tensor in self._ask(data.inputs(places)).items():
                kept = self._kept.setdefault(point, tensor.new_empty(len(data), *tensor.shape[1:]))
                kept[start : start + len(tensor)] = tensor
            events.progress("distil: teacher", places.stop, len(data))

    def at(self, places: Sequence[int]) -> tuple[Seen, torch.Tensor]:
        """Return what is inside for the samples at some places, and the first output."""
        if self._kept:
            chosen = torch.tensor(list(places))
            seen = {point: tensor[chosen] for point, tensor in self._kept.items()}
        else:
            seen = self._ask(self._data.inputs(places))
        return seen, seen[ANSWER]

    def on(self, inputs: Sequence[torch.Tensor]) -> tuple[Seen, torch.Tensor]:
        """Return what is inside for other inputs than the samples, and the first output."""
        seen = self._ask(inputs)
        return seen, seen[ANSWER]

    def _ask(self, inputs: Sequence[torch.Tensor]) -> dict[Point, torch.Tensor]:
        with torch.no_grad(), watched(self._module, self._points) as seen:
            answer = first(self._module(*inputs))
        return {**seen, ANSWER: answer}


def mask_of(data: Batches, places: Sequence[int]) -> torch.Tensor | None:
    """Return which tokens are no padding [batch, sequence]; None where the model takes no mask."""
    name = next((name for name in data.names if "mask" in name), None)
    if name is None:
        return None
    mask = data.inputs(places)[data.names.index(name)]
    return mask if mask.dim() == 2 else None
