"""`edgepack init`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepack.cli import options


@click.command("init")
@click.argument("model")
@click.option(
    "-o", "--out", default="edgepack.toml", show_default=True, help="The recipe; - prints it."
)
@click.option("--task", help="The transformers task, where it cannot be inferred.")
@click.option("-t", "--target", "targets", multiple=True, help="What it is for; repeats.")
@click.option("--force", is_flag=True, help="Replace a recipe that is there.")
@options.verbosity_options
def command(
    model: str,
    out: str,
    task: str | None,
    targets: tuple[str, ...],
    force: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Look at MODEL, run nothing of it, and write a recipe that can be built as it is."""
    from edgepack import publish
    from edgepack.api.draft import draft
    from edgepack.errors import UsageError

    path = Path(out)
    if out != "-" and path.exists() and not force:
        raise UsageError(
            "E222",
            f"{path.name} is already there",
            where=str(path),
            fix="name another with -o, or replace it with --force",
        )
    folder = Path.cwd() if out == "-" else path.parent
    with options.progress(quiet, verbose) as events:
        text = draft(model, folder, task=task, targets=targets, events=events)
    if out == "-":
        click.echo(text, nl=False)
        return
    with publish.file(path) as stage:
        stage.write_text(text)
    click.echo(f"{path} is written; go on with `edgepack plan{_naming(path)}`")


def _naming(path: Path) -> str:
    return "" if path == Path("edgepack.toml") else f" --recipe {path}"
