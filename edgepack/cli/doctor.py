"""`edgepack doctor`."""

from __future__ import annotations

import click

from edgepack.cli import options


@click.command("doctor")
@click.option(
    "--fix",
    type=click.Choice(["arm64", "onnxruntime-openvino"]),
    help="Set up the emulated arm64 system and the emulators, or a target's own runtime, ahead of "
    "their first use.",
)
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
@options.offline_option
def command(fix: str | None, style: str, offline: bool) -> int:
    """Tell what this machine lacks, what that costs, and the command that mends it."""
    import json

    from edgepack.api.doctor import examine, mend

    if fix:
        mend(fix, offline=offline, announce=lambda text: click.echo(text, err=True))
    found = examine()
    if style == "json":
        document = [finding.model_dump(mode="json") for finding in found]
        click.echo(json.dumps({"schema": "edgepack.doctor/1", "findings": document}, indent=2))
    else:
        from edgepack.cli import render

        rows = [[f.name, "pass" if f.there else "unverified", f.what, f.fix] for f in found]
        render.table(["", "", "what", "fix"], rows, render.console())
    return 0 if all(finding.there for finding in found) else 3
