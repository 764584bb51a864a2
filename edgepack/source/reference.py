"""Opens what a recipe names as its model's source; light until the model is loaded."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from edgepack.errors import UsageError, did_you_mean
from edgepack.source import Source
from edgepack.source.digits import DigitsSource
from edgepack.source.factory import FactorySource
from edgepack.source.gguf import GgufSource
from edgepack.source.onnx import OnnxSource
from edgepack.source.transformers import TransformersSource

BUILTIN = {"digits": DigitsSource}
FACTORY = re.compile(r"torch:(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")

_USUAL = (
    "name a folder, `model.onnx`, `model.gguf`, `torch:model.py:build`, `package:NAME/PATH` or "
    "`builtin:digits`; nothing is downloaded"
)


def open_source(reference: str, folder: Path, *, task: str | None, seed: int) -> Source:
    """Return the source that a reference stands for; nothing heavy is loaded, and no code runs.

    Args:
        reference: ``builtin:digits``, ``torch:model.py:build``, a folder, an ``.onnx`` or
            a ``.gguf`` file, or ``package:NAME/PATH`` for one that an installed Python package
            carries.
        folder: where the recipe lies; paths are relative to it.
        task: what a transformers model is for, where that cannot be told.
        seed: of all that the source itself trains.

    Raises:
        UsageError: E232 for a package that is not installed, E237 for one that a source needs; E261
            for what stands for nothing;
            E267, E272, E273 for a wrong factory.
        ModelError: E400, E438 to E440, E445 and E471 for a model that is refused.
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
    if "://" in reference:
        raise _unknown(
            reference, "fetch the model yourself and name its file; nothing is downloaded"
        )
    path = _in_package(reference, rest) if kind == "package" else folder / reference
    return _at(path, reference, task)


def _at(path: Path, reference: str, task: str | None) -> Source:
    """Return the source that lies at a path."""
    if path.suffix == ".onnx" and path.exists():
        return OnnxSource(path)
    if path.suffix == ".gguf" and path.is_file():
        return GgufSource(path, task)
    if (path / "config.json").is_file() or (path / "modules.json").is_file():
        return TransformersSource(path, task)
    if path.is_dir():
        models = sorted(path.glob("*.onnx"))
        if len(models) == 1:
            return OnnxSource(models[0])
        several = f"name one of its files: {', '.join(m.name for m in models[:8])}"
        nothing = "name a folder that holds config.json or one .onnx file"
        raise _unknown(reference, several if models else nothing)
    if path.is_file():
        raise _unknown(
            reference, "give an .onnx or .gguf file, or load it in a `torch:model.py:build`"
        )
    beside = {p.name for p in path.parent.iterdir()} if path.parent.is_dir() else set()
    close = did_you_mean(path.name, beside)
    fix = close if close.startswith("did") else _USUAL
    raise _unknown(reference, fix, missing=True)


def _in_package(reference: str, place: str) -> Path:
    """Return where a file of an installed package lies; the package is not imported."""
    name, _, rest = place.partition("/")
    found = find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            "E232",
            f"there is no package `{name}`",
            where=reference,
            fix="install it, and name it as Python imports it: `package:NAME/model.onnx`",
        )
    return Path(found.submodule_search_locations[0]) / rest


def _unknown(reference: str, fix: str, *, missing: bool = False) -> UsageError:
    return UsageError(
        "E261",
        f"there is no model `{reference}`" if missing else f"`{reference}` is no model",
        where="model.source",
        fix=fix,
    )
