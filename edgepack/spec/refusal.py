"""Turns what pydantic refuses into an error with a place, a cause and a fix."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from edgepack.errors import UsageError, did_you_mean
from edgepack.spec.document import Document

_WANTED = {
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": "an array",
    "string_type": "a string, in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
}
_MOST_SHOWN = 60


def refusal(cls: type[BaseModel], document: Document, error: ErrorDetails) -> UsageError:
    """Return E206 for an unknown key, E207 for a missing one, E208 for a wrong value."""
    path = ".".join(map(str, error["loc"]))
    where = document.where(path)
    if error["type"] == "extra_forbidden":
        fix = did_you_mean(str(error["loc"][-1]), _keys(cls, error["loc"][:-1]))
        return UsageError("E206", f"there is no key `{path}`", where=where, fix=fix)
    if error["type"] == "missing":
        return _missing(document, path, error["loc"])
    return UsageError(
        "E208",
        f"`{path}` is wrong",
        where=where,
        why=f"found {_shown(error['input'])}",
        fix=_allowed(error),
    )


def _missing(document: Document, path: str, loc: tuple[int | str, ...]) -> UsageError:
    """Name the key, and the one that may have been meant for it."""
    table, key = document.at(loc[:-1]), str(loc[-1])
    written = list(table) if isinstance(table, dict) else []
    where, fix = document.where(path), f"add `{path}`"
    if close := difflib.get_close_matches(key, written, n=1):
        where = document.where(".".join(map(str, (*loc[:-1], close[0]))))
        fix = f"did you mean `{key}` by `{close[0]}`?"
    return UsageError("E207", f"`{path}` is missing", where=where, fix=fix)


def _allowed(error: ErrorDetails) -> str:
    if error["type"] in _WANTED:
        return f"write {_WANTED[error['type']]}"
    if error["type"] == "literal_error":
        expected = str(error["ctx"]["expected"])
        names = re.findall(r"'([^']*)'", expected)
        close = difflib.get_close_matches(str(error["input"]), names, n=1)
        return f"write {expected}" + (f"; did you mean `{close[0]}`?" if close else "")
    return error["msg"].removeprefix("Value error, ")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _keys(cls: Any, path: tuple[int | str, ...]) -> list[str]:
    """Name the keys that the table at `path` may have."""
    for key in path:
        field = cls.model_fields.get(str(key))
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        # A key that is no field is a target's table of gates, whose keys are those around it.
        cls = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), cls)
    return list(cls.model_fields)
