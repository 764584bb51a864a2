"""A MobileNetV2 (Sandler et al., arXiv:1801.04381) of small widths, for handwritten digits."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

# expansion, channels, repeats, stride of the first
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 2, 2), (6, 64, 2, 1)]


def convolution(inputs, outputs, size=1, stride=1, groups=1):
    """Return a convolution with its batch norm and ReLU6."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6())


class Block(nn.Module):
    """Widen, filter each channel, narrow; the way around where shapes allow it."""

    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        wide = inputs * expansion
        self.around = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([convolution(inputs, wide)] if expansion > 1 else []),
            convolution(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        """Filter [n, inputs, h, w]."""
        return x + self.conv(x) if self.around else self.conv(x)


class Network(nn.Module):
    """Takes pictures [n, 1, 28, 28] from 0 to 1; gives 10 logits."""

    def __init__(self):
        super().__init__()
        layers, width = [convolution(1, 32, 3, 2)], 32
        for expansion, channels, repeats, first in BLOCKS:
            for stride in [first] + [1] * (repeats - 1):
                layers.append(Block(width, channels, stride, expansion))
                width = channels
        self.features = nn.Sequential(*layers, convolution(width, 256))
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(256, 10))

    def forward(self, pictures):
        """Classify pictures."""
        return self.classifier(self.features(pictures).mean((2, 3)))


def build():
    """Return the network with its weights, and a picture as an example."""
    net = Network()
    net.load_state_dict(load_file(Path(__file__).parent / "weights.safetensors"))
    return net.eval(), {"pictures": torch.zeros(1, 1, 28, 28)}
