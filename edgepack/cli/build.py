"""`edgepack build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.api import Request


@click.command("build")
@options.model_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("dist"),
    show_default=True,
    help="Folder that receives NAME-TARGET.edgepack and report.json.",
)
@options.on_option
@click.option("--force", is_flag=True, help="Write the artifact even where a gate failed.")
@options.fresh_option
@options.offline_option
@options.unverified_option
@options.format_option
@options.verbosity_options
def command(
    request: Request,
    output: Path,
    on: tuple[str, ...],
    force: bool,
    fresh: bool,
    offline: bool,
    allow_unverified: bool,
    style: str,
    quiet: bool,
    verbose: bool,
) -> int:
    """Make a model small, export, quantise and pack it, and prove it on the target.

    MODEL is a transformers folder, torch:FILE.py:FACTORY, an .onnx file or builtin:digits; without
    it the recipe edgepack.toml of this folder is built.
    """
    from edgepack.api import prepare
    from edgepack.api.crew import Crew
    from edgepack.api.run import execute

    work = prepare(request)
    follows = Crew.of().follows
    quiet = quiet or follows
    with options.progress(quiet, verbose) as events:
        if not quiet:
            for plan in work.plans:
                events.plan(plan)
        report = execute(
            work, out=output, on=on, force=force, fresh=fresh, offline=offline, events=events
        )
    if follows:
        return 0
    return options.show(report, style, allow_unverified)
