"""Options that several verbs share, and what they do with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from edgepack.report import Report

if TYPE_CHECKING:
    from edgepack.cli.progress import Terminal

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]


def _together(*options: Option[Any]) -> Option[Any]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_model_options = _together(
    click.argument("model", required=False),
    click.option(
        "--recipe",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The recipe to follow [default: edgepack.toml here, where no MODEL is named].",
    ),
    click.option(
        "-t", "--target", "targets", multiple=True, help="Repeats; `all` names every one."
    ),
    click.option(
        "--data", help="Evaluation data: a .npz, .jsonl or .csv file, or data.py:function."
    ),
    click.option(
        "--metric",
        help="accuracy, top5, f1, auc, spearman, mae, cer, perplexity, ... or data.py:metric.",
    ),
    click.option("--task", help="The transformers task, where it cannot be inferred."),
    click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override the recipe."
    ),
    click.option(
        "--keep-float",
        multiple=True,
        metavar="NAME",
        help="A layer that is not quantised, or a pattern of several; repeats.",
    ),
    click.option(
        "--max-drop", type=float, metavar="POINTS", help="Points of the metric that may be lost."
    ),
)


def model_options(function: F) -> Option[Any]:
    """Add MODEL and its options; the function receives them as one `request`."""

    @wraps(function)
    def collected(**given: Any) -> Any:
        from edgepack.api import Request

        asked = {name: given.pop(name) for name in Request.__dataclass_fields__}
        return function(request=Request(**asked), **given)

    return cast("Option[Any]", _model_options(collected))


on_option = click.option(
    "--on",
    multiple=True,
    metavar="CHANNEL",
    help="local or qemu[:CPU]; repeats [default: by target].",
)
format_option = click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="How the result is written to standard output.",
)
offline_option = click.option(
    "--offline", is_flag=True, help="Never use the network, even to set up."
)
fresh_option = click.option("--fresh", is_flag=True, help="Answer nothing from the cache.")
unverified_option = click.option(
    "--allow-unverified", is_flag=True, help="Exit with 0 where a device could not be reached."
)
verbosity_options = _together(
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option("-v", "--verbose", is_flag=True, help="Decisions too."),
)


@contextmanager
def progress(quiet: bool, verbose: bool) -> Iterator[Terminal]:
    """Yield the sink of progress that the user asked for."""
    from edgepack.cli.progress import Terminal

    with Terminal(-1 if quiet else int(verbose)) as terminal:
        yield terminal


def show(report: Report, style: str, allow_unverified: bool = False) -> int:
    """Write a report to standard output and return the exit status it stands for."""
    if style == "json":
        click.echo(report.to_json())
    else:
        from edgepack.cli import render

        if style == "markdown":
            click.echo(render.markdown(report), nl=False)
        else:
            render.text(report, render.console())
    if allow_unverified and report.verdict == "unverified":
        return 0
    return report.status
