"""`edgepack plan`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.api import Request


@click.command("plan")
@options.model_options
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def command(request: Request, style: str) -> None:
    """Show what a build would do: every pass with its effective options, per target."""
    from edgepack.api import prepare
    from edgepack.cli import render

    work = prepare(request)
    if style == "json":
        document = [{**plan.model_dump(mode="json"), "digest": plan.digest} for plan in work.plans]
        click.echo(json.dumps({"schema": "edgepack.plan/1", "plans": document}, indent=2))
        return
    for plan in work.plans:
        render.plan_text(plan, render.console())
