"""`edgepack schema`."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

DOCUMENTS = {
    "report": "edgepack.report:Report",
    "manifest": "edgepack.artifact.manifest:Manifest",
    "compare": "edgepack.api.compare:Comparison",
}
"""What edgepack writes; what a user writes is in `spec.schema`."""
NAMES = {"manifest": "artifact"}


@click.command("schema")
@click.argument("kind", type=click.Choice(["recipe", "target", *DOCUMENTS]))
def command(kind: str) -> None:
    """Print the JSON Schema of a document that edgepack reads or writes."""
    click.echo(json.dumps(_schema(kind), indent=2))


def _schema(kind: str) -> dict[str, Any]:
    if kind in DOCUMENTS:
        module, _, name = DOCUMENTS[kind].partition(":")
        document: type[BaseModel] = getattr(import_module(module), name)
        return {
            "$id": f"edgepack.{NAMES.get(kind, kind)}/1",
            **document.model_json_schema(by_alias=True),
        }
    from edgepack.spec.schema import schema

    return schema(kind)  # type: ignore[arg-type]
