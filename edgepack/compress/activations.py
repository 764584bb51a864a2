"""What layers are fed: the moments of their inputs over samples, summed as these stream by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edgepack.compress.batches import Batches
from edgepack.errors import ModelError
from edgepack.model.matrices import CONVOLUTIONS

BATCH = 16
"""Samples that run at once."""


@dataclass
class Inputs:
    """The inputs of a layer, summed over rows: tokens, or places of a convolution's kernel.

    Attributes:
        rows: how many there were.
        moment: the sum of their outer products [groups, inputs, inputs], float64.
    """

    rows: int
    moment: torch.Tensor

    @property
    def norms(self) -> torch.Tensor:
        """Return the length of each input over all rows [groups, inputs]."""
        return self.moment.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()


def collect(module: nn.Module, layers: Mapping[str, nn.Module], data: Batches) -> dict[str, Inputs]:
    """Run samples through a module, and sum up what some of its layers are fed.

    Padding, as the mask says, does not count. A layer that nothing reaches is left out.

    Raises:
        ModelError: E465 when what a layer is fed is not finite.
    """
    found: dict[str, Inputs] = {}
    mask: list[torch.Tensor] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            fed = given[0] if given else next(iter(named.values()))
            _add(found, name, _rows(layer, fed, mask[0] if mask else None))

        return hook

    hooks = [
        layer.register_forward_pre_hook(watch(name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    masks = [place for place, name in enumerate(data.names) if "mask" in name]
    try:
        with torch.no_grad():
            for inputs, _ in data.each(BATCH if _even(data) else 1):
                mask[:] = [inputs[place] for place in masks[:1]]
                module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for name, seen in found.items():
        if not torch.isfinite(seen.moment).all():
            raise ModelError(
                "E465",
                f"what `{name}` is fed on the calibration data is not finite",
                fix="look for NaN, infinite or huge values in the data and the model",
            )
    return found


def _even(data: Batches) -> bool:
    """Tell whether samples can be one batch: their shapes agree, or a mask tells padding."""
    shapes = {tuple(feed[name].shape for name in data.names) for feed in data.feeds}
    return len(shapes) == 1 or any("mask" in name for name in data.names)


def _rows(layer: nn.Module, fed: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the vectors that a layer's matrix is multiplied with [groups, rows, inputs]."""
    if isinstance(layer, CONVOLUTIONS):
        return _patches(layer, fed)
    if mask is not None and fed.dim() == 3 and fed.shape[:2] == mask.shape:
        fed = fed[mask != 0]
    return fed.reshape(1, -1, fed.shape[-1])


def _patches(layer: nn.Conv1d | nn.Conv2d, fed: torch.Tensor) -> torch.Tensor:
    """Return what the kernel of a convolution covers at each place."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    if layer.padding != "valid":
        fed = functional.pad(fed, layer._reversed_padding_repeated_twice, mode=mode)
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if isinstance(layer, nn.Conv1d):
        fed = fed[..., None, :]
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
    columns = functional.unfold(fed, kernel, dilation=dilation, stride=stride)
    grouped = columns.reshape(len(fed), layer.groups, -1, columns.shape[-1])
    return grouped.permute(1, 0, 3, 2).reshape(layer.groups, -1, grouped.shape[2])


def _add(found: dict[str, Inputs], name: str, rows: torch.Tensor) -> None:
    moment = (rows.transpose(1, 2) @ rows).double()
    if name in found:
        found[name].rows += rows.shape[1]
        found[name].moment += moment
    else:
        found[name] = Inputs(rows.shape[1], moment)
