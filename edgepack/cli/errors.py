"""`edgepack errors`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import click

from edgepack.errors import UsageError

if TYPE_CHECKING:
    from edgepack.api.causes import Cause

STATUS = {
    "2": "usage, recipe or data",
    "3": "environment",
    "4": "model",
    "5": "measurement",
    "6": "artifact",
}


def markdown(listed: Sequence[Cause]) -> str:
    """Write the page of all errors."""
    lines = [
        "# Errors",
        "",
        "The first digit of a code is the exit status. `edgepack errors CODE` shows one here; `…`",
        "stands for what the message fills in.",
    ]
    for status, group in groupby(listed, key=lambda cause: cause.code[1]):
        lines += ["", f"## {status}: {STATUS[status]}", ""]
        lines += ["| code | what | what to do |", "|---|---|---|"]
        for cause in group:
            cells = (cause.code, cause.what, cause.fix or "as the message says")
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


@click.command("errors")
@click.argument("code", required=False)
@click.option("--format", "style", type=click.Choice(["text", "json", "markdown"]), default="text")
def command(code: str | None, style: str) -> None:
    """Explain an error code, or list all of them."""
    from edgepack.api.causes import causes

    listed = [cause for cause in causes() if code is None or code.upper() == cause.code]
    if not listed:
        raise UsageError(
            "E233", f"there is no error `{code}`", fix="list all of them: `edgepack errors`"
        )
    if style == "json":
        document = [cause.model_dump() for cause in listed]
        click.echo(json.dumps({"schema": "edgepack.errors/1", "errors": document}, indent=2))
        return
    if style == "markdown":
        click.echo(markdown(listed), nl=False)
        return
    for cause in listed:
        why = f"\n  why: {cause.why}" if cause.why else ""
        click.echo(f"{cause.code} {cause.what}{why}\n  fix: {cause.fix or 'as the message says'}")
