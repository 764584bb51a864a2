"""`edgepack compare`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.api.compare import Comparison, Side

FIRST = 5
"""Layers that are shown."""


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("second", type=click.Path(path_type=Path, dir_okay=False))
@options.on_option
@click.option("--data", help="Data to answer, and to score: a .npz, .jsonl or .csv file.")
@click.option(
    "--metric",
    help="accuracy, top5, f1, auc, spearman, mae, cer, perplexity, ... or data.py:metric.",
)
@options.offline_option
@options.format_option
@options.verbosity_options
def command(
    first: Path,
    second: Path,
    on: tuple[str, ...],
    data: str | None,
    metric: str | None,
    offline: bool,
    style: str,
    quiet: bool,
    verbose: bool,
) -> int:
    """Hold SECOND against FIRST, artifacts or .onnx files: size, work, metric and answers.

    With -v, the layers that differ too. Nothing is judged: the exit status is 0.
    """
    from edgepack.api.compare import compare

    with options.progress(quiet, verbose) as events:
        found = compare(
            first,
            second,
            on=on,
            data=data,
            metric=metric,
            layers=verbose,
            offline=offline,
            events=events,
        )
    show(found, style)
    return 0


def show(found: Comparison, style: str) -> None:
    """Write a comparison to standard output."""
    if style == "json":
        click.echo(found.to_json())
        return
    from edgepack.cli import render

    rows = [[name, *cells] for name, *cells in _rows(found)]
    header = ["", *(Path(side.file).name for side in found.sides)]
    if style == "markdown":
        lines = ["# compare", "", _pipe(header), _pipe(["---"] * 3), *map(_pipe, rows), ""]
        click.echo("\n".join(lines + [f"- {line}" for line in _lines(found)]))
        return
    from rich.markup import escape

    console = render.console()
    render.table([escape(name) for name in header], rows, console)
    for line in _lines(found):
        console.print(line, markup=False)


def _rows(found: Comparison) -> Iterator[tuple[str, str, str]]:
    from edgepack.cli.render import number, size

    a, b = found.sides

    def row(name: str, one: str, other: str) -> tuple[str, str, str]:
        return name, one or "-", other or "-"

    def ratio(one: float | None, other: float | None) -> str:
        return f" ({other / one:.2f}x)" if one and other else ""

    yield row("size", size(a.bytes), size(b.bytes) + ratio(a.bytes, b.bytes))
    yield row("scheme", a.scheme, b.scheme)
    yield row("target", a.target, b.target)
    for name in ("parameters", "nodes", "multiply_adds"):
        one, other = getattr(a, name), getattr(b, name)
        yield row(name.replace("_", "-"), number(one), number(other) + ratio(one, other))
    if found.metric:
        yield row(found.metric, number(a.metric), number(b.metric))
    for one, other in zip(a.work, b.work, strict=True):
        counted = one.instructions, other.instructions
        if any(counted):
            name = f"instructions on {one.on}"
            yield row(name, number(counted[0]), number(counted[1]) + ratio(*counted))
        timed = one.latency_ms, other.latency_ms
        if any(timed):
            yield row(f"ms on {one.on}", number(timed[0]), number(timed[1]) + ratio(*timed))


def _lines(found: Comparison) -> Iterator[str]:
    yield from found.interface
    if answers := found.answers:
        far = "not comparable" if answers.relative is None else f"{answers.relative:.2g}"
        flips = "" if answers.flips is None else f"; {answers.flips} labels flip"
        yield (
            f"answers on {answers.samples} {answers.inputs} inputs: {answers.exact} equal, "
            f"cosine {answers.cosine:.4f} (worst {answers.cosine_worst:.4f}), "
            f"largest relative difference {far}{flips}"
        )
    else:
        yield f"answers were not compared: {found.why}"
    yield from (
        f"{_name(side)}: {work.on}: {work.why}"
        for side in found.sides
        for work in side.work
        if work.why
    )
    apart = [one for one in found.layers if one.decibel < 200]
    for one in apart[:FIRST]:
        yield (
            f"`{one.node}` ({one.operator}): cosine {one.cosine:.4f}, {one.decibel:.1f} dB, "
            f"relative {one.relative:.2g}"
        )
    if found.layers:
        yield f"{len(apart)} of {len(found.layers)} layers that both have differ"


def _name(side: Side) -> str:
    return Path(side.file).name


def _pipe(row: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
