"""Chooses the weights that matter least."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def least(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Mark the least `ratio` of all scores; equal ones are taken in their order."""
    marks = torch.zeros(scores.numel(), dtype=torch.bool)
    order = torch.argsort(scores.flatten(), stable=True)
    marks[order[: round(ratio * scores.numel())]] = True
    return marks.reshape(scores.shape)


def least_of_rows(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Mark the least `ratio` of each row, along the last axis."""
    order = torch.argsort(scores, dim=-1, stable=True)
    count = round(ratio * scores.shape[-1])
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order[..., :count], True)


def least_of_words(scores: torch.Tensor, sizes: torch.Tensor, ratio: float) -> torch.Tensor:
    """Mark the least `ratio` of each word of an embedding.

    A word that no sample held has no scores: its smallest numbers go, so that it keeps its meaning.

    Args:
        scores: [..., words, width].
        sizes: of the weights themselves, of the same shape.
        ratio: share that goes.
    """
    unseen = ~scores.any(-1, keepdim=True)
    return least_of_rows(torch.where(unseen, sizes, scores), ratio)


def least_of_runs(scores: torch.Tensor, stay: int, of: int) -> torch.Tensor:
    """Mark all but the best `stay` of each `of` consecutive scores of a row.

    What is left over at a row's end is not marked.
    """
    whole = scores.shape[-1] // of * of
    runs = scores[..., :whole].unflatten(-1, (-1, of))
    marks = torch.zeros_like(scores, dtype=torch.bool)
    marks[..., :whole] = least_of_rows(runs, (of - stay) / of).flatten(-2)
    return marks


def least_of_all(scores: Mapping[str, torch.Tensor], ratio: float) -> dict[str, torch.Tensor]:
    """Mark the least `ratio` of the scores of all layers together."""
    marks = least(torch.cat([one.flatten() for one in scores.values()]), ratio)
    parts = marks.split([one.numel() for one in scores.values()])
    return {
        name: part.reshape(one.shape)
        for (name, one), part in zip(scores.items(), parts, strict=True)
    }
