"""Turns reports and plans into text, markdown and JSON; measures and judges nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgepack.plan import Choice
from edgepack.report import Device, Effect, Footprint, Metric, Report, TargetReport
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.base import StepRecord
    from edgepack.plan import Plan
    from edgepack.proof.integers import Explanation

COLOUR = {"pass": "green", "fail": "red", "invalid": "magenta", "unverified": "yellow"}
Row = Sequence[str]


def console(*, stderr: bool = False) -> Console:
    """Return where text goes: as wide as the terminal, or 110 columns in a file or a log."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = 110
    return made


def size(count: int) -> str:
    """Write bytes with three digits and an SI unit."""
    return _scaled(count, "B")


def count(things: int) -> str:
    """Write how many there are with three digits and an SI prefix."""
    return _scaled(things, "").rstrip()


def _scaled(value: int, unit: str) -> str:
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value} {unit}"


def number(value: Any) -> str:
    """Write a measurement as a person reads it; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def text(report: Report, console: Console) -> None:
    """Print a report for a person."""
    for target in report.targets:
        console.print()
        colour = COLOUR[target.verdict]
        console.print(
            f"[bold]{report.name}[/] for [bold]{target.target}[/]: "
            f"[bold {colour}]{target.verdict}[/]"
        )
        for line in _summary(target):
            console.print(f"  {line}", markup=False)
        for title, header, rows in _tables(target):
            table = Table(
                title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2)
            )
            for index, column in enumerate(header):
                table.add_column(column, justify="left" if index == 0 else "default")
            for row in rows:
                table.add_row(*(_coloured(cell) for cell in row))
            console.print()
            console.print(table)
    console.print()
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False)
    console.print(f"verdict: [bold {COLOUR[report.verdict]}]{report.verdict}[/]")


def table(header: Row, rows: Iterable[Row], console: Console, title: str | None = None) -> None:
    """Print rows under a header."""
    grid = Table(*header, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*(_coloured(cell) for cell in row))
    console.print(grid)


def tree(value: Mapping[str, Any], console: Console, indent: int = 0) -> None:
    """Print a nested mapping, one key a line."""
    for key, item in value.items():
        pad = "  " * indent
        if isinstance(item, dict) and item:
            console.print(f"{pad}{key}", markup=False)
            tree(item, console, indent + 1)
        else:
            console.print(f"{pad}{key}: {_plain(item)}", markup=False)


def manifest_text(digest: str, manifest: Mapping[str, Any], console: Console) -> None:
    """Print what an artifact says of itself."""
    console.print(f"sha256 {digest}")
    told = {key: value for key, value in manifest.items() if key != "files"}
    for side in ("inputs", "outputs"):
        told[side] = [str(TensorSpec.model_validate(spec)) for spec in manifest[side]]
    told["golden"] = {**manifest["golden"], "vectors": len(manifest["golden"]["vectors"])}
    steps = enumerate(manifest["passes"], 1)
    told["passes"] = {f"{place}. {step['name']}": step["options"] for place, step in steps}
    tree(told, console)
    rows = [[file["name"], size(file["size"]), file["sha256"][:16]] for file in manifest["files"]]
    console.print()
    table(["file", "size", "sha256"], rows, console)


def markdown(report: Report) -> str:
    """Write a report as markdown, for a pull request or a CI summary."""
    lines = [f"# {report.name}: {report.verdict}"]
    lines += ["", *(f"- warning: {text}" for text in report.warnings)] if report.warnings else []
    for target in report.targets:
        lines += ["", f"## {target.target}: {target.verdict}", ""]
        lines += [f"- {line}" for line in _summary(target)]
        for title, header, rows in _tables(target):
            lines += ["", f"### {title}", "", _pipe(header), _pipe(["---"] * len(header))]
            lines += [_pipe(row) for row in rows]
    return "\n".join(lines) + "\n"


def plan_text(plan: Plan, console: Console) -> None:
    """Print a plan: every pass with its effective options."""
    console.print(f"plan: [bold]{plan.name}[/] for [bold]{plan.target}[/] from {plan.source}")
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=False)
    for index, step in enumerate(plan.steps, 1):
        options = ", ".join(f"{k} = {_plain(v)}" for k, v in _options(step).items())
        table.add_row(f"{index}.", f"[bold]{step.name}[/]", escape(options))
    console.print(table)


def _options(step: StepRecord | Choice) -> dict[str, Any]:
    """Return a step's options; those that the ways of a choice differ in are written "one of"."""
    if not isinstance(step, Choice):
        return step.options
    if step.asked:
        return step.ways[0].options
    told: dict[str, Any] = {}
    for key in step.ways[0].options:
        values = list(dict.fromkeys(str(way.options[key]) for way in step.ways))
        told[key] = step.ways[0].options[key] if len(values) == 1 else "one of " + ", ".join(values)
    return told


def _summary(target: TargetReport) -> Iterable[str]:
    if target.artifact:
        model, was = target.model_bytes or target.bytes, target.float_bytes
        ratio = f", {was / model:.1f}x smaller" if was > model else ""
        float_size = f" (float {size(was)}{ratio})" if was else ""
        yield f"{target.artifact}  {size(target.bytes)}: model {size(model)}{float_size}"
    if target.sha256:
        yield f"sha256 {target.sha256}"
    if target.scheme:
        yield f"scheme {target.scheme}"
    if metric := target.metric:
        if metric.after is None:
            yield f"{metric.name or 'metric'}: not measured ({metric.why})"
        else:
            form = ".4g" if metric.relative else ".2f"
            after = _estimate(metric.after, metric.after_interval, form)
            if metric.before is not None:
                after += f" (before {_estimate(metric.before, metric.before_interval, form)})"
            yield f"{metric.name} {after} on {metric.samples} samples"


def _estimate(value: float, interval: tuple[float, float] | None, form: str) -> str:
    """Write a value and its 95 % interval, which is told with a digit less."""
    if interval is None:
        return f"{value:{form}}"
    low, high = (f"{end:{'.3g' if form == '.4g' else '.1f'}}" for end in interval)
    return f"{value:{form}} [{low}, {high}]"


def _effects(target: TargetReport) -> Iterable[tuple[str, Row, Sequence[Row]]]:
    """Write what the steps did, a row for the model as it came in and one a step, and what it says.

    Counts have three digits; the JSON has them all.
    """
    told = [(step.name, step.effect) for step in target.steps if step.effect]
    if not told:
        return
    start = told[0][1]
    metric = start.metric
    points = _scored(metric, metric.before, metric.before_interval) if metric else "-"
    rows = [["as it came in", *_weighed(start.before, start.before), points]]
    for name, effect in told:
        metric = effect.metric
        points = _scored(metric, metric.after, metric.after_interval) if metric else "-"
        rows.append([name, *_weighed(effect.before, effect.after), points])
    named = next((effect.metric.name for _, effect in told if effect.metric), "") or "metric"
    header = ["step", "parameters", "multiply-adds", "size", "instructions", named]
    yield "effect of each step", header, rows
    if said := [[name, note] for name, effect in told for note in _said(effect)]:
        yield "what the effects say", ["step", "note"], said


def _said(effect: Effect) -> Iterable[str]:
    if effect.why:
        yield f"not measured: {effect.why}"
    elif effect.after.instructions is None and effect.not_counted:
        yield f"instructions not counted: {effect.not_counted}"
    yield from effect.notes


def _scored(metric: Metric, value: float | None, interval: tuple[float, float] | None) -> str:
    form = ".4g" if metric.relative else ".2f"
    return "-" if value is None else _estimate(value, interval, form)


def _weighed(before: Footprint, after: Footprint) -> list[str]:
    """Write parameters, multiply-adds, size and instructions, each with its change."""
    return [
        _changed(before.parameters, after.parameters, count),
        _changed(before.multiply_adds, after.multiply_adds, count),
        _changed(before.bytes, after.bytes, size),
        _changed(before.instructions, after.instructions, count),
    ]


def _changed(before: int | None, after: int | None, write: Callable[[int], str]) -> str:
    if after is None:
        return "-"
    if not before or before == after:
        return write(after)
    return f"{write(after)} {100 * (after / before - 1):+.0f} %"


def _tables(target: TargetReport) -> Iterable[tuple[str, Row, Sequence[Row]]]:
    if target.steps:
        rows = [
            [
                step.name,
                "cached" if step.cached else f"{step.seconds:.1f} s",
                number(step.after.get("parameters")),
                size(step.after["bytes"]) if "bytes" in step.after else "-",
                "; ".join(step.notes),
            ]
            for step in target.steps
        ]
        yield "steps", ["pass", "time", "parameters", "bytes", "notes"], rows
        yield from _effects(target)
    if target.candidates:
        scored = target.metric is not None and target.metric.after is not None
        rows = [
            [
                c.scheme,
                "taken" if c.chosen else "",
                "-" if c.bytes is None else size(c.bytes),
                number(c.metric if scored else c.cosine),
                number(c.instructions),
                c.reason,
            ]
            for c in target.candidates
        ]
        points = target.metric.name if scored and target.metric else "cosine"
        yield "schemes", ["scheme", "", "bytes", points, "instructions", "why"], rows
    if target.sensitivity:
        rows = [
            [
                one.node,
                one.operator,
                f"{one.decibel:.1f} dB",
                number(one.cosine),
                number(one.metric),
            ]
            for one in target.sensitivity
        ]
        scored = target.metric is not None and target.metric.after is not None
        points = target.metric.name if scored and target.metric else "metric"
        columns = ["layer alone in integers", "operator", "SQNR", "cosine", points]
        yield "sensitivity", columns, rows
    if target.devices:
        rows = [[d.on, d.verdict, _device(d)] for d in target.devices]
        yield "devices", ["on", "", "what it said"], rows
    if target.gates:
        rows = [[g.name, number(g.value), number(g.limit), g.verdict, g.why] for g in target.gates]
        yield "gates", ["gate", "value", "limit", "verdict", "why"], rows


def explanation(found: Explanation, console: Console) -> None:
    """Print what runs as integers, a line a layer."""
    columns = ["layer", "runs as", "integer", "multiply-adds", "share", "why not"]
    table = Table(*columns, box=None, pad_edge=False)
    for one in found.layers:
        odd = f"{one.channels} channels: no multiple of 8" if one.channels else ""
        told = "; ".join(part for part in (one.why, odd) if part)
        work, share = number(one.multiply_adds), f"{100 * one.share:.1f} %"
        row = [one.node, one.kernel, "yes" if one.integer else "no", work, share, told]
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(f"{100 * found.integer_share:.1f} % of the multiply-adds run as integers")
    console.print(f"{found.unfused} tensors are dequantised for float operators")
    console.print(f"{found.estimated_gain:.2f} times as fast as float, estimated from that share")


def _device(device: Device) -> str:
    """Write what a device said as one line of facts, each with what kind of number it is."""
    said = [device.why] if device.why else []
    if device.vectors:
        close = "bit-exact" if device.exact else f"within {number(device.difference)}"
        said.append(f"{close} on {device.vectors} vectors")
    if device.instructions is not None:
        said.append(f"{device.instructions:,} instructions counted")
    if device.not_counted:
        said.append(f"not counted: {device.not_counted}")
    if device.latency_ms:
        points = ", ".join(f"{name} {ms:.3g}" for name, ms in device.latency_ms.items())
        said.append(f"{points} ms measured")
    said += [device.runtime] if device.runtime else []
    return "; ".join(said + (["cached"] if device.cached else []))


def _coloured(cell: str) -> str:
    return f"[{COLOUR[cell]}]{cell}[/]" if cell in COLOUR else escape(cell)


def _pipe(row: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
