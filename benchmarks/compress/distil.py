"""A small student of the convnet: taught on 100 pictures, and on all of them without labels."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from compress.scene import Bar, Shown, accuracy, context, convnet
from edgepack.compress.distil import Distil
from edgepack.model import Model
from edgepack.model.run import repeatable
from edgepack.source.digits import INPUT, RANGES

FEW, MANY_EPOCHS = 100, 800
"""Soft answers pay on few pictures where training is long: after 200 epochs they gain little."""
SOFT = 0.9
STUDENT = "torch:student.py:build"
BARS = (
    Bar("gained by soft answers", 3, True, "points of accuracy over hard labels, 100 pictures"),
    Bar("lost without labels", 1, False, "points of accuracy to full labels, all pictures"),
)


def student(seed: int) -> Model:
    """Return an untrained network of two convolutions, 5 thousand parameters."""
    with repeatable(seed):
        module = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
        )
        example = {INPUT.name: np.zeros((1, 1, 8, 8), np.float32)}
        return Model.of(module, (INPUT,), example, ("logits",))


def taught(
    seed: int,
    count: int,
    epochs: int,
    alpha: float,
    temperature: float = 4,
    *,
    labelled: bool = True,
    mix: bool = False,
) -> float:
    """Return the accuracy of a student after training on so many pictures, in percent."""
    one = Distil(
        student=STUDENT,
        epochs=epochs,
        batch_size=32,
        learning_rate=3e-3,
        alpha=alpha,
        temperature=temperature,
        mix=mix,
    )
    made = context(seed, Shown(0, count, labelled))
    made = replace(made, models={STUDENT: lambda: student(seed)})
    return accuracy(one.apply(convnet(seed), made))


def measure(seed: int) -> dict[str, float]:
    """Train students of one schedule on labels, and on what the convnet answers at T = 4."""
    torch.set_num_threads(1)
    every = RANGES["train"][1]
    hard = taught(seed, FEW, MANY_EPOCHS, 0)
    soft = taught(seed, FEW, MANY_EPOCHS, SOFT, mix=True)
    found = {
        "teacher": accuracy(convnet(seed)),
        "100 hard labels": hard,
        "100 hard labels, blended": taught(seed, FEW, MANY_EPOCHS, 0, mix=True),
        "100 soft answers, T = 4": taught(seed, FEW, MANY_EPOCHS, SOFT),
        "100 soft answers, T = 1": taught(seed, FEW, MANY_EPOCHS, SOFT, 1),
        "100 soft answers, T = 4, blended": soft,
        "gained by soft answers": soft - hard,
    }
    full = taught(seed, every, 40, 0)
    transfer = taught(seed, every, 40, 1.0, labelled=False)
    return found | {
        "all hard labels": full,
        "all soft answers, no labels": transfer,
        "lost without labels": full - transfer,
    }
