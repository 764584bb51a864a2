"""Reads a TOML file into a frozen value; whatever is wrong gets its file and line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgepack.errors import UsageError, did_you_mean
from edgepack.spec.lines import line_index

MOST_BYTES = 1 << 20
T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """A TOML document and where each of its keys stands.

    Attributes:
        name: the file's name, for messages; empty for what was given on the command line.
        data: the document itself.
        lines: line by dotted path.
    """

    name: str
    data: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, path: str) -> int | None:
        """Return the line of a dotted path, or of the nearest table around it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path.rpartition(".")[0]
        return None

    def where(self, path: str) -> str:
        """Return ``file:line``, as precisely as it is known."""
        line = self.line(path)
        return f"{self.name}:{line}" if self.name and line else self.name


def read(path: Path) -> Document:
    """Read a TOML file.

    Raises:
        UsageError: E201 missing or no file, E202 too large, E203 not UTF-8, E204 not TOML.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise UsageError(
            "E201", f"{path.name} {what}", where=str(path), fix="name the TOML file itself"
        )
    if path.stat().st_size > MOST_BYTES:
        raise UsageError(
            "E202",
            f"{path.name} is larger than 1 MiB",
            where=str(path),
            fix="is it the right file?",
        )
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as problem:
        raise UsageError(
            "E203", f"{path.name} is not UTF-8", why=str(problem), fix="save it as UTF-8"
        ) from None
    try:
        return Document(path.name, tomllib.loads(text), line_index(text))
    except tomllib.TOMLDecodeError as problem:
        line = re.search(r"line (\d+)", str(problem))
        where = f"{path.name}:{line[1]}" if line else path.name
        raise UsageError(
            "E204", "this is not TOML", where=where, why=str(problem), fix="mend this line"
        ) from None


def overridden(document: Document, overrides: tuple[str, ...]) -> Document:
    """Return the document with each ``a.b.0.c=value`` put in; the value is TOML or a bare word.

    Raises:
        UsageError: E205 for what is not KEY=VALUE or runs through a value that is no table.
    """
    data = _copy(document.data)
    for override in overrides:
        path, equals, written = override.partition("=")
        try:
            value = tomllib.loads(f"x = {written}")["x"]
        except tomllib.TOMLDecodeError:
            value = written
        if not equals or not path.strip() or not _put(data, path.strip().split("."), value):
            raise UsageError(
                "E205",
                f"`{override}` sets nothing",
                where="--set",
                fix="write KEY=VALUE with a dotted path, as in steps.0.ratio=0.3",
            )
    return Document(document.name, data, document.lines)


def validated(cls: type[T], document: Document) -> T:
    """Validate a document against a model.

    Raises:
        UsageError: E206 unknown key, E207 missing key, E208 wrong value; with file and line.
    """
    try:
        return cls.model_validate(document.data)
    except ValidationError as problem:
        # A mistyped key is also a missing one; the key that was written is the better word.
        errors = sorted(problem.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise _refusal(cls, document, errors[0]) from None


def _refusal(cls: type[BaseModel], document: Document, error: ErrorDetails) -> UsageError:
    path = ".".join(map(str, error["loc"]))
    where = document.where(path)
    if error["type"] == "extra_forbidden":
        known = _fields(cls, error["loc"][:-1])
        return UsageError(
            "E206",
            f"there is no key `{path}`",
            where=where,
            fix=did_you_mean(path.rpartition(".")[2], known),
        )
    if error["type"] == "missing":
        return UsageError("E207", f"`{path}` is missing", where=where, fix=f"add `{path}`")
    return UsageError(
        "E208",
        f"`{path}` is wrong",
        where=where,
        why=f"found {error['input']!r}",
        fix=error["msg"].removeprefix("Value error, "),
    )


def _fields(cls: Any, path: tuple[int | str, ...]) -> list[str]:
    """Name the keys that the table at `path` may have."""
    for key in path:
        if isinstance(cls, type) and issubclass(cls, BaseModel) and key in cls.model_fields:
            cls = cls.model_fields[str(key)].annotation
        models = [
            c for c in (cls, *get_args(cls)) if isinstance(c, type) and issubclass(c, BaseModel)
        ]
        cls = models[-1] if models else cls
    return list(cls.model_fields) if isinstance(cls, type) and issubclass(cls, BaseModel) else []


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _put(data: Any, keys: list[str], value: Any) -> bool:
    *path, last = keys
    for key in path:
        if isinstance(data, list) and key.isdigit() and int(key) < len(data):
            data = data[int(key)]
        elif isinstance(data, dict):
            data = data.setdefault(key, {})
        else:
            return False
    if isinstance(data, list) and last.isdigit() and int(last) < len(data):
        data[int(last)] = value
    elif isinstance(data, dict):
        data[last] = value
    else:
        return False
    return True
