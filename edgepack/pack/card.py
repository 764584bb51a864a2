"""The model card: the manifest in words, for whoever opens the artifact."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgepack.artifact.manifest import Golden, Isa, Runtime
from edgepack.base import StepRecord
from edgepack.types import TensorSpec, Tolerance


def card(fields: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """Write the card from the manifest's fields and the bytes of the files.

    Everything in it follows from the plan and the model; it holds no time, path or machine.
    """
    isa: Isa = fields["isa"]
    steps: Sequence[StepRecord] = fields["passes"]
    features = f" with {', '.join(isa.features)}" if isa.features else ""
    sample = (
        [
            "",
            "`python sample.py` runs the first golden vector and says whether the answer is right.",
        ]
        if "sample.py" in sizes
        else []
    )
    lines = [
        f"# {fields['name']} for {fields['target']}",
        "",
        f"An ONNX model for {isa.arch}{features}, stored as `{fields['scheme']}`: release"
        f" {fields['release']}, packed by edgepack {fields['edgepack']}. `manifest.json` says the"
        " same to machines.",
        "",
        *_table(("file", "bytes"), ((f"`{n}`", str(s)) for n, s in sorted(sizes.items()))),
        "",
        "## Interface",
        "",
        *_table(("", "name", "type", "shape"), _interface(fields["inputs"], fields["outputs"])),
        *_state(fields.get("state", {})),
        "",
        "## Running it",
        "",
        _runtime(fields["runtime"], fields["session"].model_dump()),
        *sample,
        "",
        "## What is right",
        "",
        _rightness(fields["golden"], fields["tolerance"]),
        "",
        "## How it was made",
        "",
        *(f"{i}. `{s.name}` {_options(s.options)}".rstrip() for i, s in enumerate(steps, 1)),
        "",
        f"Seed {fields['seed']}. Source `sha256:{fields['source']}`.",
        *(
            f"{split.capitalize()} data `sha256:{d}`."
            for split, d in sorted(fields["data"].items())
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _interface(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> list[tuple[str, str, str, str]]:
    sides = (("input", inputs), ("output", outputs))
    return [
        (side, f"`{s.name}`", s.dtype, " x ".join(map(str, s.shape)) or "scalar")
        for side, specs in sides
        for s in specs
    ]


def _state(state: Mapping[str, str]) -> list[str]:
    pairs = ", ".join(f"`{output}` into `{name}`" for name, output in sorted(state.items()))
    return ["", f"It carries a state from run to run: feed {pairs} of the next run."] * bool(pairs)


def _runtime(runtime: Runtime, session: Mapping[str, Any]) -> str:
    bounds = [f"from {runtime.minimum}"] * bool(runtime.minimum)
    bounds += [f"up to {runtime.maximum}"] * bool(runtime.maximum)
    text = " ".join([f"Needs {runtime.package}", *bounds])
    providers = ", ".join(session["providers"])
    settings = f"threads {session['threads']}, optimisation `{session['optimization']}`"
    return f"{text}. Session: {settings}, providers {providers}{_entries(session['entries'])}."


def _entries(entries: Mapping[str, str]) -> str:
    return "".join(f", `{key}={value}`" for key, value in sorted(entries.items()))


def _rightness(golden: Golden, tolerance: Tolerance) -> str:
    count = len(golden.vectors)
    if not count:
        return "There was no data: this artifact holds no golden vectors and proves nothing."
    origin = "made-up inputs" if golden.generated else "the user's data"
    limit = (
        "every byte must agree"
        if tolerance.exact
        else f"relative difference at most {tolerance.relative:g}, "
        f"mean cosine at least {tolerance.cosine:g}"
    )
    return f"Golden vectors: {count}, from {origin}, computed by {golden.runtime}; {limit}."


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = `{json.dumps(value)}`" for key, value in sorted(options.items()))
