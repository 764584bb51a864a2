"""`edgepack targets`."""

from __future__ import annotations

import json

import click


@click.command("targets")
@click.argument("name", required=False)
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def command(name: str | None, style: str) -> None:
    """List the targets, or show what NAME resolves to."""
    from edgepack.spec.target import load_target, names

    found = {n: load_target(n) for n in ([name] if name else names())}
    if style == "json":
        click.echo(json.dumps({n: t.model_dump(mode="json") for n, t in found.items()}, indent=2))
        return
    from edgepack.cli import render

    console = render.console()
    if name:
        render.tree(found[name].model_dump(mode="json"), console)
    else:
        render.table(
            ["target", "what it is"], [[n, t.description] for n, t in found.items()], console
        )
