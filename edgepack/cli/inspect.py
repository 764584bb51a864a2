"""`edgepack inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("inspect")
@click.argument("artifact", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def command(artifact: Path, style: str) -> None:
    """Check every byte of ARTIFACT and show its manifest; nothing in it is executed."""
    from edgepack.artifact import Artifact

    opened = Artifact.open(artifact)
    manifest = opened.manifest.model_dump(mode="json")
    if style == "json":
        click.echo(json.dumps({"sha256": opened.digest, "manifest": manifest}, indent=2))
        return
    from edgepack.cli import render

    render.manifest_text(opened.digest, manifest, render.console())
