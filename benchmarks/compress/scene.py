"""The models and the data that every technique is measured on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.nn.functional import cross_entropy

from edgepack.base import Context, ModelPass, Silent
from edgepack.model import Model
from edgepack.model.run import repeatable
from edgepack.source.digits import INPUT, RANGES, DigitsSource, pictures
from edgepack.types import Sample, digest_of

EPOCHS = 40
LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Bar:
    """A limit on the mean over the seeds of one number.

    Attributes:
        number: its name in what `measure` returns.
        limit: what it may be at most, or must be at least.
        least: whether the limit is a least.
        says: what it is, in words, with its unit.
    """

    number: str
    limit: float
    least: bool
    says: str

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the mean keeps the limit."""
        mean = float(np.mean(values))
        return mean >= self.limit if self.least else mean <= self.limit


@dataclass(frozen=True)
class Shown:
    """Pictures of the digits as samples; `labelled` says whether they have answers."""

    first: int
    last: int
    labelled: bool = True
    generated: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the range."""
        return digest_of("shown", self.first, self.last, self.labelled)

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[Sample]:
        images, labels = pictures()
        for place in range(self.first, self.last):
            label = int(labels[place]) if self.labelled else None
            yield Sample(({INPUT.name: images[place : place + 1]},), label)


def context(seed: int, train: Shown | None = None) -> Context:
    """Return a context with the digits' splits; `train` in the place of the usual one."""
    data = {
        "train": train or Shown(*RANGES["train"]),
        "calibration": Shown(*RANGES["calibration"]),
        "evaluation": Shown(*RANGES["evaluation"]),
    }
    work = Path(tempfile.mkdtemp(prefix="edgepack-bench-"))
    return Context(work=work, seed=seed, data=data, runner=None, events=Silent())  # type: ignore[arg-type]


def applied(one: ModelPass, model: Model, seed: int, train: Shown | None = None) -> Model:
    """Return the model after a pass; what came in is the original, too."""
    made = context(seed, train)
    return one.apply(model, replace(made, original=lambda: model))


def accuracy(model: Model) -> float:
    """Return the share of the 360 held-out pictures that are told right, in percent."""
    images, labels = (column[slice(*RANGES["evaluation"])] for column in pictures())
    given = model.run({model.inputs[0].name: images})[model.outputs[0].name]
    return 100 * float(np.mean(given.argmax(1) == labels))


@cache
def convnet(seed: int) -> Model:
    """Return the builtin residual convnet, trained from a seed: about 99 % right."""
    return DigitsSource(seed).load(context(seed))


class Network(torch.nn.Module):
    """A vision transformer of transformers: pictures [n, 1, 8, 8] to logits [n, 10].

    It reads patches of 2 by 2, or rows, of which the outer pixels are nearly always black; with
    rows it has ReLU, so that what its layers meet differs in length.
    """

    def __init__(self, *, rows: bool = False) -> None:
        super().__init__()
        config = transformers.ViTConfig(
            image_size=8,
            patch_size=(1, 8) if rows else 2,
            hidden_act="relu" if rows else "gelu",
            num_channels=1,
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=8,
            intermediate_size=128,
            hidden_dropout_prob=0.1,
            num_labels=10,
            attn_implementation="eager",
        )
        self.model = transformers.ViTForImageClassification(config)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.model(image).logits


def untrained(seed: int, *, rows: bool = False) -> Model:
    """Return the transformer before training."""
    with repeatable(seed):
        example = {INPUT.name: np.zeros((1, 1, 8, 8), np.float32)}
        return Model.of(Network(rows=rows), (INPUT,), example, ("logits",))


@cache
def transformer(seed: int, *, rows: bool = False) -> Model:
    """Return a four-layer transformer of 0.14 M parameters, trained: 97 % right, by rows 99 %."""
    model = untrained(seed, rows=rows)
    images, labels = (torch.from_numpy(c[slice(*RANGES["train"])]) for c in pictures())
    rounds = len(labels) // 64
    with repeatable(seed):
        module = model.module.train()
        optimizer = torch.optim.AdamW(module.parameters(), LEARNING_RATE)
        falling = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=EPOCHS * rounds
        )
        for _ in range(EPOCHS):
            order = torch.randperm(len(labels))
            for turn in range(rounds):
                places = order[turn * 64 : turn * 64 + 64]
                optimizer.zero_grad()
                cross_entropy(module(images[places]), labels[places]).backward()
                optimizer.step()
                falling.step()
        module.eval()
    return model
