"""A small convolutional network for 8x8 digits; `build` is the factory that the recipe names."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def network() -> nn.Sequential:
    """The layers, untrained."""
    return nn.Sequential(
        block(1, 16),
        block(16, 32, stride=2),
        block(32, 64, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def build() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """Return the trained network and an example of its inputs."""
    trained = network()
    trained.load_state_dict(load_file(Path(__file__).parent / "weights.safetensors"))
    return trained, (torch.zeros(1, 1, 8, 8),)
