"""How a sentence-transformers folder makes one vector of many tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgepack.errors import ModelError
from edgepack.types import Frozen

Mode: TypeAlias = Literal["mean", "cls"]


class Pooling(Frozen):
    """The stages after the encoder, after Reimers and Gurevych, Sentence-BERT (EMNLP 2019).

    Attributes:
        path: folder of the encoder, relative to the model's.
        mode: mean over the tokens that the mask keeps, or the first token.
        normalised: whether the vector is brought to length 1.
    """

    path: str
    mode: Mode
    normalised: bool


def read_pooling(folder: Path) -> Pooling | None:
    """Read ``modules.json``; None where there is none.

    Raises:
        ModelError: E445 when a stage is not supported, or the files cannot be read.
    """
    if not (folder / "modules.json").is_file():
        return None
    try:
        stages = json.loads((folder / "modules.json").read_bytes())
        kinds = [stage["type"].rpartition(".")[2] for stage in stages]
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise _unsupported(f"its stages are {', '.join(kinds)}")
        paths = [folder / stage["path"] for stage in stages[:2]]
        if not all(path.resolve().is_relative_to(folder.resolve()) for path in paths):
            raise _unsupported("a stage lies outside the folder")
        settings = json.loads((paths[1] / "config.json").read_bytes())
        return Pooling(path=stages[0]["path"], mode=_mode(settings), normalised=len(stages) == 3)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise _unsupported(f"{type(problem).__name__}: {problem}") from problem


def _mode(settings: dict[str, Any]) -> Mode:
    """Read either spelling: one word, or a flag for each mode."""
    flags = {name.removeprefix("pooling_mode_") for name, on in settings.items() if on is True}
    modes = {settings["pooling_mode"]} if "pooling_mode" in settings else flags
    modes -= {"include_prompt"}
    if modes in ({"mean"}, {"mean_tokens"}):
        return "mean"
    if modes in ({"cls"}, {"cls_token"}):
        return "cls"
    raise _unsupported(f"it pools by {', '.join(sorted(modes)) or 'nothing'}")


def _unsupported(why: str) -> ModelError:
    return ModelError(
        "E445",
        "this sentence-transformers model is not supported",
        where="modules.json",
        why=why,
        fix="a Transformer, Pooling by mean or cls, and Normalize are; wrap others in a factory",
    )
