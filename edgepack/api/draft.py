"""Drafts a recipe for a model: what is known of it, and what could be asked, as comments."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.base import Context, Events, Silent
from edgepack.source.onnx import OnnxSource
from edgepack.source.reference import open_source
from edgepack.source.transformers import TransformersSource
from edgepack.spec.target import load_target
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.source import Source

MARKS = (
    (r"(.+)", r"\1N|\1_?n|\1_?out|new_?\1|next_?\1|\1_?next"),
    (r"(.*)_in(?:put)?", r"\1_out(?:put)?"),
    (r"in(?:put)?_(.*)", r"out(?:put)?_\1"),
    (r"(.*)past(.*)", r"\1present\2"),
    (r"(.+)_?0", r"\1_?n"),
)
"""Names of an input and of the output that the next run takes in its place."""


def draft(
    model: str,
    folder: Path,
    *,
    task: str | None = None,
    targets: Sequence[str] = (),
    events: Events | None = None,
) -> str:
    """Return a recipe that loads and plans as it is; no code of the model's runs.

    Args:
        model: a source, as in a recipe, relative to this folder.
        folder: where the recipe will lie.
        task: the transformers task.
        targets: what it is meant for.
        events: takes notes.

    Raises:
        UsageError: for what is no source, and for a target that is not there.
        ModelError: for a model that is refused.
    """
    for target in targets:
        load_target(target)
    source = open_source(model, Path.cwd(), task=task, seed=0)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    quantised = False
    if isinstance(source, OnnxSource):
        from edgepack.graph.runner import ChildRunner

        with tempfile.TemporaryDirectory(prefix="edgepack-init-") as work:
            context = Context(Path(work), 0, {}, ChildRunner(), events or Silent())
            graph = source.load(context)
        inputs, outputs, quantised = graph.inputs, graph.outputs, graph.scheme != "float"
    sections = (
        _head(targets),
        _model(_beside(model, folder), source, task, inputs, outputs),
        _state(states(inputs, outputs)),
        _data(source, inputs),
        _steps(source, quantised),
        _gates(targets),
    )
    return "\n\n".join("\n".join(lines) for part in sections if (lines := list(part))) + "\n"


def states(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[tuple[str, str], ...]:
    """Pair inputs with the outputs that look like what they will be in the next run.

    Type and rank must be the same, fixed sizes too, the names must be of `MARKS`, and one output
    alone must fit. A model that keeps a state takes and gives something else besides.
    """
    found = []
    for spec in inputs:
        fits = [o.name for o in outputs if _alike(spec, o) and _follows(spec.name, o.name)]
        if len(fits) == 1:
            found.append((spec.name, fits[0]))
    alone = len(found) in {len(inputs), len(outputs)}
    return () if alone else tuple(found)


def _alike(a: TensorSpec, b: TensorSpec) -> bool:
    if a.dtype != b.dtype or len(a.shape) != len(b.shape):
        return False
    sizes = zip(a.shape, b.shape, strict=True)
    return all(x == y or isinstance(x, str) or isinstance(y, str) for x, y in sizes)


def _follows(taken: str, given: str) -> bool:
    for before, after in MARKS:
        if match := re.fullmatch(before, taken, re.IGNORECASE):
            parts = enumerate(match.groups(), 1)
            pattern = after
            for place, part in parts:
                pattern = pattern.replace(f"\\{place}", re.escape(part))
            if re.fullmatch(pattern, given, re.IGNORECASE):
                return True
    return False


def _head(targets: Sequence[str]) -> Iterator[str]:
    chosen = " ".join(f"--target {name}" for name in targets) or "--target arm64"
    yield "# A recipe for edgepack; docs/recipe.md has every key. Comments may stay comments."
    yield "#"
    yield f"#   edgepack plan {chosen}"
    yield f"#   edgepack build {chosen}"


def _model(
    reference: str,
    source: Source,
    task: str | None,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Iterator[str]:
    yield "[model]"
    yield f"source = {_quoted(reference)}"
    if isinstance(source, TransformersSource):
        known = task or source.task
        made = ", ".join(map(str, source.config.get("architectures") or ()))
        mark = "" if task else "# "
        told = f"  # {_one_line(made)}" if made else ""
        yield f"{mark}task = {_quoted(known or 'feature-extraction')}{told}"
    yield from (f"# input   {_one_line(str(spec))}" for spec in inputs)
    yield from (f"# output  {_one_line(str(spec))}" for spec in outputs)


def _state(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    if pairs:
        yield "[model.state]  # what a run takes from the run before it, guessed by the names"
        yield from (f"{_quoted(taken)} = {_quoted(given)}" for taken, given in pairs)


def _data(source: Source, inputs: Sequence[TensorSpec]) -> Iterator[str]:
    yield "[data]"
    if source.data:
        yield f"# the source brings its own: {', '.join(source.data)}; name others to replace them"
    kind = _kind(source, inputs)
    example, metric, told = {
        "text": ("{split}.jsonl", "accuracy", 'a line each: {"text": "...", "label": 1}'),
        "pictures": ("{split}", "accuracy", "a folder of pictures, in one folder a class"),
        "sounds": ("{split}", "auc", "a folder of .wav files, or one a class"),
        "arrays": ("{split}.npz", "accuracy", "arrays by input name, and `label`"),
    }[kind]
    if source.gives == "model":
        yield f"# train       = {_quoted(example.format(split='train'))}"
    yield f"# calibration = {_quoted(example.format(split='calibration'))}  # {told}"
    yield f"# evaluation  = {_quoted(example.format(split='evaluation'))}"
    yield '# evaluation  = "data.py:evaluation"  # or a function that returns samples'
    yield f"# metric      = {_quoted(metric)}"
    if scalars := [s.name for s in inputs if not s.shape and s.dtype != "string"]:
        yield ""
        yield "# [data.constants]     # what every run is fed beside the data"
        yield from (f"# {_quoted(name)} = 0" for name in scalars)
    if kind == "pictures":
        yield ""
        yield "# [data.pictures]"
        yield "# mean = [0.485, 0.456, 0.406]  # as the model was trained"
        yield "# std  = [0.229, 0.224, 0.225]"
    if kind == "sounds":
        yield ""
        yield "# [data.audio]"
        yield "# rate = 16000"


def _kind(source: Source, inputs: Sequence[TensorSpec]) -> str:
    """Guess what the model is fed; a source that is not loaded is told by what lies beside it."""
    if source.tokenizer or any(spec.name == "input_ids" for spec in inputs):
        return "text"
    if isinstance(source, TransformersSource):
        return "pictures" if source.task == "image-classification" else "arrays"
    floats = [spec.shape for spec in inputs if spec.dtype.startswith("float")]
    if any(len(s) == 4 and {s[1], s[3]} & {1, 3} for s in floats):
        return "pictures"
    return "sounds" if any(len(shape) in {2, 3} for shape in floats) else "arrays"


def _steps(source: Source, quantised: bool) -> Iterator[str]:
    if source.gives == "model":
        yield "# [[steps]]            # fewer channels; costs accuracy, so fine-tune after it"
        yield '# pass = "prune"'
        yield "# ratio = 0.5"
        yield ""
        yield "# [[steps]]            # needs `train`"
        yield '# pass = "finetune"'
        yield "# epochs = 6"
        yield ""
    yield "[[steps]]" + (
        "  # the model is quantised already and stays as it is" if quantised else ""
    )
    yield 'pass = "quantize"'
    yield 'scheme = "auto"         # or "w8a8-static", "w8-dynamic", "fp16", "bf16", "float";'
    yield '#                         weights alone: "w8-weight-only", "w4-weight-only",'
    yield '#                         "w2-weight-only", "ternary-weight-only", "binary-weight-only"'
    yield '# keep = ["/head/*"]    # nodes that stay float'


def _gates(targets: Sequence[str]) -> Iterator[str]:
    yield "[gates]"
    yield "# max_drop = 1.0        # points of the metric against the model as it came in"
    yield "# cosine = 0.99         # least mean cosine to its outputs"
    yield '# size = "6 MB"         # of the artifact'
    for target in targets:
        yield ""
        yield f"# [gates.{Path(target).stem}]"
        yield '# instructions = "40 M" # of one inference, counted'


def _beside(model: str, folder: Path) -> str:
    """Write a reference as it reads from the recipe's folder."""
    kind, _, rest = model.partition(":")
    if kind in {"builtin", "package"}:
        return model
    if kind == "torch":
        file, _, function = rest.rpartition(":")
        return f"torch:{_relative(file, folder)}:{function}"
    return _relative(model, folder)


def _relative(path: str, folder: Path) -> str:
    if Path(path).is_absolute():
        return path
    written = Path(os.path.relpath(path, folder)).as_posix()
    return (
        written if written.startswith(".") or "/" in written or "." in written else f"./{written}"
    )


def _quoted(text: str) -> str:
    """Write a TOML string; JSON's escapes are TOML's."""
    return json.dumps(text)


def _one_line(text: str) -> str:
    """Keep names from another's file inside their comment."""
    return "".join(c if c.isprintable() else "?" for c in text)
