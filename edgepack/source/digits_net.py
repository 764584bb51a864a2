"""The convnet of ``builtin:digits`` and its training."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from edgepack.model import Model
from edgepack.model.fit import Schedule, Task, fit
from edgepack.model.run import repeatable
from edgepack.source.digits import INPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgepack.base import Events
    from edgepack.types import Array

SCHEDULE = Schedule(epochs=8, learning_rate=3e-3, batch_size=64)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution, batch norm, ReLU."""
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions around which the input is added back.

    He et al., Deep Residual Learning for Image Recognition (CVPR 2016, arXiv 1512.03385).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map [n, channels, h, w] to the same shape."""
        return torch.relu(image + self.second(self.first(image)))


def network() -> nn.Sequential:
    """Return stem, residual block, two strided convolutions, average and linear layer.

    It maps pictures [n, 1, 8, 8] to logits [n, 10].
    """
    layers = {
        "stem": convolution(1, 32),
        "block": Residual(32),
        "down1": convolution(32, 96, stride=2),
        "down2": convolution(96, 224, stride=2),
        "average": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": nn.Linear(224, 10),
    }
    return nn.Sequential(OrderedDict(layers))


def untrained(seed: int) -> Model:
    """Return the network as it is before training."""
    with repeatable(seed):
        example = {INPUT.name: np.zeros((1, 1, 8, 8), np.float32)}
        return Model.of(network(), (INPUT,), example, ("logits",))


def trained(seed: int, images: Array, labels: Array, events: Events) -> Model:
    """Return the network trained on pictures [n, 1, 8, 8] and labels [n]."""
    model = untrained(seed)
    inputs, classes = torch.from_numpy(images), torch.from_numpy(labels)

    def objective(module: nn.Module, places: Sequence[int]) -> torch.Tensor:
        return cross_entropy(module(inputs[places]), classes[places])

    with repeatable(seed):
        fit(model.module, Task("train digits", len(classes), objective), SCHEDULE, events)
    return model
