"""`edgepack cache`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from edgepack import publish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgepack.types import Frozen

AGES = {"h": 3600.0, "d": 86400.0, "w": 604800.0}
SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}

style_option = click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True
)


class Quantity(click.ParamType[float]):
    """A number and a unit, such as 30d or 2GB."""

    def __init__(self, name: str, units: dict[str, Any]) -> None:
        self.name = name
        self._units = units

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds or bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", str(value))
        if found is None or found[2] not in self._units:
            self.fail(f"`{value}` is not a number and one of {', '.join(self._units)}", param, ctx)
        return float(found[1]) * float(self._units[found[2]])


@click.group("cache", invoke_without_command=True)
@style_option
@click.pass_context
def command(ctx: click.Context, style: str) -> None:
    """Show what builds have stored on this machine; verify and prune mend it."""
    if ctx.invoked_subcommand is not None:
        return
    from edgepack.api.store import free, survey
    from edgepack.cli import render

    root = publish.cache_root()
    held = survey(root)
    if style == "json":
        document = [one.model_dump(mode="json") for one in held]
        told = {"root": str(root), "free_bytes": free(root), "kinds": document}
        click.echo(json.dumps({"schema": "edgepack.cache/1", **told}, indent=2))
        return
    rows = [
        [one.kind, str(one.entries), render.size(one.bytes), f"{one.oldest_days:.1f} d"]
        for one in held
    ]
    total = [str(sum(o.entries for o in held)), render.size(sum(o.bytes for o in held))]
    console = render.console()
    render.table(["kind", "entries", "size", "oldest use"], [*rows, ["all", *total, ""]], console)
    console.print(f"{root}, {render.size(free(root))} free", markup=False)


@command.command("verify")
@click.option("--fix", is_flag=True, help="Remove what is damaged; the next build makes it again.")
@style_option
def verify(fix: bool, style: str) -> int:
    """Hash every entry again and name those that are damaged; status 3 if some are left."""
    from edgepack.api import store

    wrong = store.verify(publish.cache_root(), fix=fix)
    _show("damaged", wrong, style)
    if style == "text" and not wrong:
        click.echo("every entry is whole")
    return 0 if all(one.removed for one in wrong) else 3


@command.command("prune")
@click.option(
    "--older-than", "older", type=Quantity("age", AGES), help="Unused for so long, such as 30d."
)
@click.option(
    "--keep",
    type=Quantity("size", SIZES),
    help="Remove the longest unused until so much is left, such as 2GB.",
)
@click.option("--all", "everything", is_flag=True, help="Remove every entry.")
@style_option
def prune(older: float | None, keep: float | None, everything: bool, style: str) -> None:
    """Throw entries away, once no build uses the cache; the emulated systems stay."""
    from edgepack.api import store
    from edgepack.cli import render

    if everything == (older is not None or keep is not None):
        raise click.UsageError("say what to remove: --older-than, --keep, or --all alone")
    most = 0 if everything else None if keep is None else int(keep)
    gone = store.prune(publish.cache_root(), older=older, keep=most)
    if style == "json":
        _show("pruned", [gone], style)
    else:
        size, left = render.size(gone.bytes), render.size(gone.left)
        click.echo(f"removed {gone.entries} entries, {size}; {left} are left")


def _show(name: str, found: Sequence[Frozen], style: str) -> None:
    rows = [one.model_dump(mode="json") for one in found]
    if style == "json":
        click.echo(json.dumps({"schema": "edgepack.cache/1", name: rows}, indent=2))
        return
    for row in rows:
        state = "removed" if row["removed"] else "damaged"
        click.echo(f"{state} {row['key'][:12]}: {row['why']}")
