"""`edgepack bench`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepack.cli import options


@click.command("bench")
@click.argument(
    "artifacts", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False)
)
@options.on_option
@click.option("--rounds", default=50, show_default=True, help="Timed inferences per pass.")
@options.offline_option
@options.format_option
@options.verbosity_options
def command(
    artifacts: tuple[Path, ...],
    on: tuple[str, ...],
    rounds: int,
    offline: bool,
    style: str,
    quiet: bool,
    verbose: bool,
) -> int:
    """Measure one inference of each of ARTIFACTS, interleaved in three passes.

    On a real device the figure is a latency; under emulation it is counted instructions, and never
    a time.
    """
    from edgepack.api.use import bench

    with options.progress(quiet, verbose) as events:
        report = bench(artifacts, on=on, rounds=rounds, offline=offline, events=events)
    return options.show(report, style)
