"""Channels matter as much as what they carry, times the weights that read it.

Sun et al., A Simple and Effective Pruning Approach for Large Language Models (Wanda, ICLR 2024,
arXiv 2306.11695), summed over whole channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.criteria.places import gather, readers, rows
from edgepack.compress.criteria.subject import Subject
from edgepack.types import Split

READS: tuple[Split, ...] = ("calibration", "train")
BATCH = 16


def scores(subject: Subject) -> list[torch.Tensor | None]:
    """Return magnitudes of the weights times the length of their inputs over all samples."""
    layers = {layer for group in subject.groups for layer, _ in readers(subject.module, group)}
    squares = _squares(subject.module, layers, subject.samples)
    found: list[torch.Tensor | None] = []
    for group in subject.groups:
        total = torch.zeros(group.channels, dtype=torch.float64)
        for layer, member in readers(subject.module, group):
            if layer in squares:
                weights = rows(layer, member, layer.weight).abs().sum(1)
                lengths = squares[layer].sqrt()[list(member.indices)]
                total += gather(group, member, weights * lengths)
        found.append(total)
    return found


def _squares(
    module: torch.nn.Module, layers: set[torch.nn.Module], data: Batches
) -> dict[torch.nn.Module, torch.Tensor]:
    """Sum the squares of each input of some layers [inputs]; padding does not count."""
    found: dict[torch.nn.Module, torch.Tensor] = {}
    mask: list[torch.Tensor] = []

    def watch(layer: torch.nn.Module) -> Callable[..., None]:
        channels = 1 if isinstance(layer, torch.nn.modules.conv._ConvNd) else -1

        def hook(_: torch.nn.Module, given: tuple[Any, ...]) -> None:
            fed = given[0]
            if mask and fed.dim() == 3 and fed.shape[:2] == mask[0].shape:
                fed = fed[mask[0] != 0]
            sums = fed.double().square().transpose(0, channels).flatten(1).sum(1)
            found[layer] = found.get(layer, 0) + sums

        return hook

    hooks = [layer.register_forward_pre_hook(watch(layer)) for layer in layers]
    masked = [place for place, name in enumerate(data.names) if "mask" in name]
    try:
        with torch.no_grad():
            for inputs, _ in data.each(BATCH):
                mask[:] = [inputs[place] for place in masked[:1]]
                module(*inputs)
    finally:
        for one in hooks:
            one.remove()
    return found
