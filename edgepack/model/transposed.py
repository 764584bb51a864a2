"""Teaches the tracer of groups the linear layer of GPT-2, whose weights are [inputs, outputs]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_pruning.pruner.function import BasePruningFunc


class Transposed(BasePruningFunc):  # type: ignore[misc]
    """Removes columns of the weights for outputs, and rows for inputs."""

    TARGET_MODULES = torch.nn.Module

    def prune_out_channels(self, layer: torch.nn.Module, idxs: Sequence[int]) -> torch.nn.Module:
        """Remove outputs, in place."""
        kept = [place for place in range(layer.nf) if place not in set(idxs)]
        layer.nf = len(kept)
        layer.weight = self._prune_parameter_and_grad(layer.weight, kept, 1)
        layer.bias = self._prune_parameter_and_grad(layer.bias, kept, 0)
        return layer

    def prune_in_channels(self, layer: torch.nn.Module, idxs: Sequence[int]) -> torch.nn.Module:
        """Remove inputs, in place."""
        kept = [place for place in range(layer.nx) if place not in set(idxs)]
        layer.nx = len(kept)
        layer.weight = self._prune_parameter_and_grad(layer.weight, kept, 0)
        return layer

    def get_out_channels(self, layer: torch.nn.Module) -> int:
        """Count the outputs."""
        return int(layer.weight.shape[1])

    def get_in_channels(self, layer: torch.nn.Module) -> int:
        """Count the inputs."""
        return int(layer.weight.shape[0])
