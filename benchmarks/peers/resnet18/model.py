"""The shape of ResNet-18 (He et al., arXiv:1512.03385) with seeded weights."""

from itertools import pairwise

import torch
from torch import nn


def convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    """Return a convolution with its batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class Block(nn.Module):
    """Two convolutions and the way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride)
        self.second = convolution(outputs, outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.around = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [n, outputs, h / stride, w / stride]."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.around(x))


class ResNet18(nn.Module):
    """Takes pictures [n, 3, 224, 224]; gives 1,000 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        widths = [64, 64, 128, 256, 512]
        blocks = []
        for place, (before, after) in enumerate(pairwise(widths)):
            blocks += [Block(before, after, 2 if place else 1), Block(after, after, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(512, 1000)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Classify pictures."""
        return self.classifier(self.blocks(self.stem(pictures)).mean((2, 3)))


def build() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Return the network, the same one each time, and a picture as an example."""
    torch.manual_seed(0)
    return ResNet18().eval(), {"pictures": torch.zeros(1, 3, 224, 224)}
