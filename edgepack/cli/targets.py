"""`edgepack targets`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgepack.spec.target import Target


def markdown(targets: Mapping[str, Target]) -> str:
    """Write the table of targets that the README holds."""
    lines = ["| target | for | proven on | schemes |", "|---|---|---|---|"]
    for name, target in targets.items():
        proven, schemes = (", ".join(words) for words in (target.verify, target.quantize.schemes))
        lines.append(f"| `{name}` | {target.description} | {proven} | {schemes} |")
    return "\n".join(lines) + "\n"


@click.command("targets")
@click.argument("name", required=False)
@click.option("--format", "style", type=click.Choice(["text", "json", "markdown"]), default="text")
def command(name: str | None, style: str) -> None:
    """List the targets, or show what NAME resolves to."""
    from edgepack.spec.target import load_target, names

    found = {n: load_target(n) for n in ([name] if name else names())}
    if style == "json":
        click.echo(json.dumps({n: t.model_dump(mode="json") for n, t in found.items()}, indent=2))
        return
    if style == "markdown":
        click.echo(markdown(found), nl=False)
        return
    from edgepack.cli import render

    console = render.console()
    if name:
        render.tree(found[name].model_dump(mode="json"), console)
    else:
        render.table(
            ["target", "what it is"], [[n, t.description] for n, t in found.items()], console
        )
