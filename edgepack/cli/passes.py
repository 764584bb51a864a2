"""`edgepack passes`: what a recipe's steps can be, read off the classes themselves."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_args

import click
from pydantic.fields import FieldInfo

from edgepack.base import Pass
from edgepack.registry import load_pass, pass_names


@click.command("passes")
@click.argument("name", required=False)
@click.option("--format", "style", type=click.Choice(["text", "json", "markdown"]), default="text")
def command(name: str | None, style: str) -> None:
    """List the passes, or show what NAME does and its options."""
    classes = [load_pass(n) for n in ([name] if name else sorted(pass_names()))]
    if style == "json":
        schemas = {cls.name: cls.model_json_schema() for cls in classes}
        click.echo(json.dumps(schemas, indent=2))
    elif style == "markdown":
        click.echo(markdown(classes), nl=False)
    else:
        from edgepack.cli import render

        console = render.console()
        for cls in classes:
            console.print(f"[bold]{cls.name}[/]  {cls.takes} -> {cls.gives}  {_summary(cls)}")
            if name:
                render.table(["option", "type", "default", "meaning"], _rows(cls), console)


def markdown(classes: list[type[Pass]]) -> str:
    """Write the page of all passes."""
    lines = [
        "# Passes",
        "",
        "Each `[[steps]]` table of a recipe names one pass; its other keys are the pass's options.",
        "This page is `edgepack passes --format markdown`, and a test holds it to the classes.",
    ]
    for cls in classes:
        lines += ["", f"## {cls.name}", "", f"{cls.takes} -> {cls.gives}. {_description(cls)}"]
        if cls.needs:
            lines += ["", f"Needs {', '.join(sorted(cls.needs))} data."]
        if cls.model_fields:
            lines += ["", "| option | type | default | meaning |", "|---|---|---|---|"]
            lines += ["| " + " | ".join(_cell(c) for c in row) + " |" for row in _rows(cls)]
    return "\n".join(lines) + "\n"


def _summary(cls: type[Pass]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _description(cls: type[Pass]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n\nAttributes:")[0].strip()


def _rows(cls: type[Pass]) -> list[list[str]]:
    return [
        [name, _type(field), _default(cls, name, field), field.description or ""]
        for name, field in cls.model_fields.items()
    ]


def _type(field: FieldInfo) -> str:
    if values := [v for v in get_args(field.annotation) if isinstance(v, str)]:
        return " or ".join(values)
    annotation: Any = field.annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _default(cls: type[Pass], name: str, field: FieldInfo) -> str:
    if name in cls.from_target:
        return (
            "the recipe's name" if name == "artifact" else f"the target's {cls.from_target[name]}"
        )
    return "required" if field.is_required() else json.dumps(field.default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
