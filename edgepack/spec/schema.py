"""JSON Schemas of what a user writes, for editors."""

from __future__ import annotations

from typing import Any, Literal

from edgepack.spec.recipe import Recipe
from edgepack.spec.target import Target


def schema(kind: Literal["recipe", "target"]) -> dict[str, Any]:
    """Return the JSON Schema of a recipe or a target."""
    document = (Recipe if kind == "recipe" else Target).model_json_schema(by_alias=True)
    if kind == "recipe":  # a step's options are written as keys of its table
        step = document["$defs"]["Step"]
        step["properties"] = {"pass": step["properties"]["pass"]}
        step["additionalProperties"] = True
    return {"$id": f"edgepack.{kind}/1", **document}
