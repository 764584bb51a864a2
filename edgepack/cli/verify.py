"""`edgepack verify`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepack.cli import options


@click.command("verify")
@click.argument("artifact", type=click.Path(path_type=Path, dir_okay=False))
@options.on_option
@click.option("--data", help="Evaluation data: a .npz, .jsonl or .csv file.")
@click.option("--metric", help="As in a recipe: accuracy, f1, auc, ... or data.py:metric.")
@options.fresh_option
@options.offline_option
@options.unverified_option
@options.format_option
@options.verbosity_options
def command(
    artifact: Path,
    on: tuple[str, ...],
    data: str | None,
    metric: str | None,
    fresh: bool,
    offline: bool,
    allow_unverified: bool,
    style: str,
    quiet: bool,
    verbose: bool,
) -> int:
    """Check every byte of ARTIFACT, then run its golden vectors on each device."""
    from edgepack.api.use import verify

    with options.progress(quiet, verbose) as events:
        report = verify(
            artifact, on=on, data=data, metric=metric, fresh=fresh, offline=offline, events=events
        )
    return options.show(report, style, allow_unverified)
