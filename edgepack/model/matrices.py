"""Weights of linear layers and convolutions as matrices."""

from __future__ import annotations

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


def is_matrix(layer: nn.Module) -> bool:
    """Tell whether a layer multiplies its input by a matrix of weights."""
    return isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) or is_transposed(layer)


def is_transposed(layer: nn.Module) -> bool:
    """Tell whether it is the linear layer of GPT-2, whose weights are [inputs, outputs]."""
    return type(layer).__name__ == "Conv1D" and hasattr(layer, "nf")


def matrix(layer: nn.Module, values: torch.Tensor | None = None) -> torch.Tensor:
    """Return a layer's weights, or values of their shape, as [groups, outputs, inputs].

    A convolution's inputs are channel, row and column of its kernel, in that order. A layer without
    groups is one group; an embedding's outputs are its words.
    """
    weight = layer.weight if values is None else values
    weight = weight.detach()
    if isinstance(layer, CONVOLUTIONS):
        return weight.reshape(layer.groups, layer.out_channels // layer.groups, -1)
    return (weight.T if is_transposed(layer) else weight)[None]


def fill(layer: nn.Module, values: torch.Tensor) -> None:
    """Set a layer's weights from a matrix [groups, outputs, inputs], in place."""
    turned = values[0].T if is_transposed(layer) else values.reshape(layer.weight.shape)
    with torch.no_grad():
        layer.weight.copy_(turned)
