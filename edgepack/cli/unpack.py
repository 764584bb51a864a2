"""`edgepack unpack`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("unpack")
@click.argument("artifact", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A folder that does not exist yet."
)
def command(artifact: Path, output: Path | None) -> None:
    """Check ARTIFACT and extract its files into a fresh folder [default: named like it]."""
    from edgepack.artifact import Artifact, unpack

    folder = output or Path(artifact.stem)
    opened = Artifact.open(artifact)
    unpack(opened, folder)
    click.echo(folder)
