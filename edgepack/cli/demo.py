"""`edgepack demo`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepack.cli import options

STEPS = 'steps=[{pass="prune", ratio=0.5}, {pass="finetune", epochs=4}, {pass="quantize"}]'


@click.command("demo")
@click.option("-t", "--target", "targets", multiple=True, default=("arm64",), show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("dist"))
@options.on_option
@options.fresh_option
@options.offline_option
@options.format_option
@options.verbosity_options
def command(
    targets: tuple[str, ...],
    output: Path,
    on: tuple[str, ...],
    fresh: bool,
    offline: bool,
    style: str,
    quiet: bool,
    verbose: bool,
) -> int:
    """Train, prune, fine-tune, export, quantise and pack the builtin digits model, and prove it.

    The device is an emulated Cortex-A72; its system is set up on the first run.
    """
    from edgepack.api import Request, prepare
    from edgepack.api.run import execute

    work = prepare(Request(model="builtin:digits", targets=targets, overrides=(STEPS,)))
    with options.progress(quiet, verbose) as events:
        for plan in work.plans:
            events.plan(plan)
        report = execute(work, out=output, on=on, fresh=fresh, offline=offline, events=events)
    return options.show(report, style)
