"""Opens what a recipe names as its model's source; light until the model is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from edgepack.errors import UsageError, did_you_mean
from edgepack.source import Source
from edgepack.source.digits import DigitsSource
from edgepack.source.factory import FactorySource
from edgepack.source.onnx import OnnxSource
from edgepack.source.transformers import TransformersSource

BUILTIN = {"digits": DigitsSource}
FACTORY = re.compile(r"torch:(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")

_USUAL = (
    "name a folder, `model.onnx`, `torch:model.py:build` or `builtin:digits`; nothing is downloaded"
)


def open_source(reference: str, folder: Path, *, task: str | None, seed: int) -> Source:
    """Return the source that a reference stands for; nothing heavy is loaded, and no code runs.

    Args:
        reference: ``builtin:digits``, ``torch:model.py:build``, a folder or an ``.onnx`` file.
        folder: where the recipe lies; paths are relative to it.
        task: what a transformers model is for, where that cannot be told.
        seed: of all that the source itself trains.

    Raises:
        UsageError: E261 for what stands for nothing; E267, E272, E273 for a wrong factory.
        ModelError: E400, E438 to E440 and E445 for a model that is refused.
    """
    kind, _, rest = reference.partition(":")
    if kind == "builtin":
        if rest not in BUILTIN:
            raise _unknown(reference, did_you_mean(rest, BUILTIN))
        return BUILTIN[rest](seed)
    if match := FACTORY.fullmatch(reference):
        return FactorySource(folder / match["file"], match["function"], reference)
    if kind == "torch" or ".py" in reference:
        raise _unknown(reference, "name a file and its function, as in `torch:model.py:build`")
    path = folder / reference
    if path.suffix == ".onnx":
        return OnnxSource(path)
    if (path / "config.json").is_file() or (path / "modules.json").is_file():
        return TransformersSource(path, task)
    if path.is_dir():
        raise _unknown(reference, "name a folder that holds config.json, or an .onnx file in it")
    if path.is_file():
        raise _unknown(reference, "give an .onnx file, or load it in a `torch:model.py:build`")
    beside = {p.name for p in path.parent.iterdir()} if path.parent.is_dir() else set()
    close = did_you_mean(path.name, beside)
    raise _unknown(reference, close if close.startswith("did") else _USUAL)


def _unknown(reference: str, fix: str) -> UsageError:
    return UsageError("E261", f"`{reference}` is no model", where="model.source", fix=fix)
