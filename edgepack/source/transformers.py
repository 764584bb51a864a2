"""A transformers folder as a source: ``config.json``, weights, and often a tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgepack.child import QUIET
from edgepack.errors import ModelError
from edgepack.source.pooling import Pooling, read_pooling
from edgepack.types import Asset, Samples, Split, digest_of, file_digest

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

TASKS = ("feature-extraction", "image-classification", "text-classification", "text-generation")
"""Tasks that are supported."""

_SETTINGS = (
    "config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
_TRAVELS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json",
    "preprocessor_config.json",
)  # fmt: skip
_VOCABULARY = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model")


class TransformersSource:
    """A model saved by transformers or sentence-transformers; no network, no code from the folder.

    Args:
        folder: where it was saved.
        task: what it is for, where that cannot be told from ``config.json``.

    Attributes:
        task: what it is for; None where it is told from the class that was saved, at loading.

    Raises:
        ModelError: E438 when the folder is no such model, E439 when it needs code of its own,
            E440 when its task is not supported.
    """

    gives: Literal["model", "graph"] = "model"
    metric = ""

    def __init__(self, folder: Path, task: str | None = None) -> None:
        self.name = folder.resolve().name
        self.pooling: Pooling | None = read_pooling(folder)
        self.folder = folder / self.pooling.path if self.pooling else folder
        self.config = _read(self.folder / "config.json")
        for name in _SETTINGS:
            path = self.folder / name
            if path.is_file() and "auto_map" in _read(path):
                raise _remote_code(name)
        if "quantization_config" in self.config:
            raise _unfit(f"{self.name} is already quantised", "its config.json says so")
        self.task = task or ("feature-extraction" if self.pooling else None)
        if self.task not in (*TASKS, None):
            raise unsupported(f"the task `{self.task}` is not supported")
        self.tokenizer = self.folder if (self.folder / "tokenizer.json").is_file() else None
        travels = _TRAVELS if self.tokenizer else _TRAVELS + _VOCABULARY
        present = [self.folder / name for name in travels if (self.folder / name).is_file()]
        self.assets = tuple(Asset(path.name, path) for path in present)
        files = {p.name: file_digest(p) for p in sorted(self.folder.iterdir()) if p.is_file()}
        pooled = self.pooling.model_dump() if self.pooling else None
        self.digest = digest_of("transformers", self.task, pooled, files)
        self.data: Mapping[Split, Samples] = {}

    def load(self, context: Context) -> Model:
        """Return the model with its weights.

        Raises:
            ModelError: E441 when weights are missing or damaged, E440 or E442 when transformers
                cannot make the model.
        """
        os.environ.update(QUIET)
        from edgepack.source.pretrained import load

        return load(self, context.work)

    def fresh(self, context: Context) -> Model:
        """Return the model with random weights; nothing but ``config.json`` is read."""
        os.environ.update(QUIET)
        from edgepack.source.pretrained import untrained

        return untrained(self)


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise _unfit(f"{path.name} cannot be read", str(problem)) from problem
    if not isinstance(settings, dict):
        raise _unfit(f"{path.name} cannot be read", "it holds no object")
    return settings


def _remote_code(name: str) -> ModelError:
    return ModelError(
        "E439",
        "the model needs Python code that lies in its folder or on a hub",
        where=name,
        why="`auto_map` names classes that transformers does not have",
        fix="read that code, and wrap the model in a factory: source = 'torch:model.py:build'",
    )


def unsupported(what: str, where: str = "config.json", tasks: Sequence[str] = TASKS) -> ModelError:
    """Refuse a task, and name those that there are."""
    return ModelError(
        "E440",
        what,
        where=where,
        fix=f"give `task` as one of {', '.join(sorted(tasks))}, or wrap the model in a factory: "
        "source = 'torch:model.py:build'",
    )


def _unfit(what: str, why: str) -> ModelError:
    return ModelError(
        "E438", what, why=why, fix="save the float model again with `save_pretrained`"
    )
