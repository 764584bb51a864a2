"""A small convolutional network for 8x8 digits; `build` is the factory that the recipe names."""

import torch
from torch import nn


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def build() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """Return the untrained network and an example of its inputs."""
    torch.manual_seed(0)
    network = nn.Sequential(
        block(1, 32),
        block(32, 64, stride=2),
        block(64, 128, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    return network, (torch.zeros(1, 1, 8, 8),)
