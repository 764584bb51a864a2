"""`edgepack inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--explain", is_flag=True, help="What runs as integers, what does not, and why.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def command(file: Path, explain: bool, style: str) -> None:
    """Check every byte of FILE and show an artifact's manifest, or what an .onnx file holds.

    Nothing in it is executed, but for --explain, which loads and runs the model.
    """
    if explain:
        _explain(file, style)
        return
    if file.suffix == ".onnx":
        _onnx(file, style)
        return
    from edgepack.artifact import Artifact

    opened = Artifact.open(file)
    manifest = opened.manifest.model_dump(mode="json")
    if style == "json":
        click.echo(json.dumps({"sha256": opened.digest, "manifest": manifest}, indent=2))
        return
    from edgepack.cli import render

    render.manifest_text(opened.digest, manifest, render.console())


def _explain(file: Path, style: str) -> None:
    from edgepack.api.explain import explained

    found = explained(file)
    if style == "json":
        click.echo(json.dumps(found.model_dump(mode="json"), indent=2))
        return
    from edgepack.cli import render

    render.explanation(found, render.console())


def _onnx(file: Path, style: str) -> None:
    from edgepack.api.opened import opened
    from edgepack.base import Silent

    with opened(file, Silent()) as found:
        graph = found.graph
        told = {
            "sha256": found.sha256,
            "bytes": found.bytes,
            "inputs": [spec.model_dump(mode="json") for spec in graph.inputs],
            "outputs": [spec.model_dump(mode="json") for spec in graph.outputs],
            "opset": dict(graph.model.opset_imports),
            "quantised": graph.scheme != "float",
            **{k: v for k, v in graph.facts().items() if k != "bytes"},
        }
    if style == "json":
        click.echo(json.dumps({"onnx": told}, indent=2))
        return
    from edgepack.cli import render

    told |= {side: [str(s) for s in getattr(graph, side)] for side in ("inputs", "outputs")}
    told["opset"] = {domain or "ai.onnx": number for domain, number in told["opset"].items()}
    render.tree(told, render.console())
