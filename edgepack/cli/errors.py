"""`edgepack errors`."""

from __future__ import annotations

import json
from itertools import groupby

import click

from edgepack.errors import UsageError

STATUS = {
    "2": "usage, recipe or data",
    "3": "environment",
    "4": "model",
    "5": "measurement",
    "6": "artifact",
}


@click.command("errors")
@click.argument("code", required=False)
@click.option("--format", "style", type=click.Choice(["text", "json", "markdown"]), default="text")
def command(code: str | None, style: str) -> None:
    """Explain an error code, or list all of them."""
    from edgepack.api.causes import causes

    listed = [cause for cause in causes() if code in (None, cause.code)]
    if not listed:
        raise UsageError(
            "E233", f"there is no error `{code}`", fix="list all of them: `edgepack errors`"
        )
    if style == "json":
        document = [cause.model_dump() for cause in listed]
        click.echo(json.dumps({"schema": "edgepack.errors/1", "errors": document}, indent=2))
        return
    for status, group in groupby(listed, key=lambda cause: cause.code[1]):
        if style == "markdown":
            title = f"## {status}: {STATUS[status]}\n\n| code | what | what to do |\n|---|---|---|"
            click.echo(f"\n{title}")
            for cause in group:
                cells = (cause.code, cause.what, cause.fix or "as the message says")
                click.echo(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
            continue
        for cause in group:
            why = f"\n  why: {cause.why}" if cause.why else ""
            click.echo(
                f"{cause.code} {cause.what}{why}\n  fix: {cause.fix or 'as the message says'}"
            )
