"""Reads what modules give while a model runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgepack.errors import ModelError


@dataclass(frozen=True)
class Point:
    """One tensor inside a model: the module that gives it, and its place among what that gives."""

    module: str
    place: int = 0


@dataclass(frozen=True)
class Pair:
    """A student's point, and the teacher's that it is held to."""

    ours: Point
    theirs: Point


Seen = Mapping[Point, torch.Tensor]
"""Tensors by where they were seen."""


@contextmanager
def watched(module: nn.Module, points: Iterable[Point]) -> Iterator[dict[Point, torch.Tensor]]:
    """Yield what fills, while the module runs, with what its parts give at some points.

    Raises:
        ModelError: E477 when a part gives no tensor there.
    """
    seen: dict[Point, torch.Tensor] = {}
    hooks = []

    def keep(point: Point) -> Any:
        def hook(_: nn.Module, __: Any, given: Any) -> None:
            several = given if isinstance(given, tuple | list) else (given,)
            tensor = several[point.place] if point.place < len(several) else None
            if not torch.is_tensor(tensor):
                raise nothing_inside(
                    f"`{point.module}` gives no tensor at place {point.place}"
                    + (": is its attention computed eagerly?" if point.place else "")
                )
            seen[point] = tensor

        return hook

    try:
        for point in dict.fromkeys(points):
            part = module.get_submodule(point.module)
            hooks.append(part.register_forward_hook(keep(point)))
        yield seen
    finally:
        for one in hooks:
            one.remove()


def nothing_inside(why: str) -> ModelError:
    """Say that what is to be held is not there."""
    return ModelError(
        "E477",
        "there is nothing inside the models to hold against each other",
        why=why,
        fix="leave out the `match_` weight, name modules under `features`, or load a transformers "
        'model with attn_implementation="eager"',
    )


def real(tensor: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return rows [n, width] of a tensor [..., width], without those of padding.

    Args:
        tensor: vectors, one a sample or one a token.
        mask: [batch, sequence], not zero where a token is no padding; None where nothing is.
    """
    if mask is not None and tensor.dim() == 3 and tensor.shape[:2] == mask.shape:
        return tensor[mask != 0]
    return tensor.flatten(0, -2)
