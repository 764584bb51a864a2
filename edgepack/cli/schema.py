"""`edgepack schema`."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.argument("kind", type=click.Choice(["recipe", "target", "manifest", "report"]))
def command(kind: str) -> None:
    """Print the JSON Schema of a document that edgepack reads or writes."""
    if kind == "report":
        from edgepack.report import Report

        schema = {"$id": "edgepack.report/1", **Report.model_json_schema(by_alias=True)}
    elif kind == "manifest":
        from edgepack.artifact.manifest import Manifest

        schema = {"$id": "edgepack.artifact/1", **Manifest.model_json_schema(by_alias=True)}
    else:
        from edgepack.spec.schema import schema as spec_schema

        schema = spec_schema(kind)  # type: ignore[arg-type]
    click.echo(json.dumps(schema, indent=2))
