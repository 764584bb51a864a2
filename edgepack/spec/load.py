"""Reads a TOML file into a frozen value; whatever is wrong gets its file and line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edgepack.errors import UsageError
from edgepack.spec.document import Document
from edgepack.spec.lines import line_index
from edgepack.spec.refusal import refusal

MOST_BYTES = 1 << 20
T = TypeVar("T", bound=BaseModel)


def read(path: Path) -> Document:
    """Read a TOML file.

    Raises:
        UsageError: E201 missing or no file, E202 too large, E203 not UTF-8, E204 not TOML.
    """
    name = path.name or str(path)
    raw = _bytes(path, name)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw[: problem.start].count(b"\n") + 1
        raise UsageError(
            "E203",
            f"{name} is not UTF-8",
            where=f"{name}:{line}",
            why=str(problem),
            fix="save it as UTF-8",
        ) from None
    text = text.replace("\r\n", "\n")
    try:
        return Document(name, tomllib.loads(text), line_index(text))
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r"line (\d+)", str(problem))
        line = int(found[1]) if found else text.rstrip("\n").count("\n") + 1
        raise UsageError(
            "E204",
            "this is not TOML",
            where=f"{name}:{line}",
            why=str(problem),
            fix="mend this line",
        ) from None
    except (RecursionError, ValueError):
        raise UsageError(
            "E204",
            "this is TOML that cannot be read",
            where=name,
            why="it is nested too deep, or holds a number of thousands of digits",
            fix="is it the right file?",
        ) from None


def overridden(document: Document, overrides: tuple[str, ...]) -> Document:
    """Return the document with each ``a.b.0.c=value`` put in; the value is TOML or a bare word.

    Raises:
        UsageError: E205 for what is not KEY=VALUE or runs through a value that is no table.
    """
    for override in overrides:
        path, equals, written = (part.strip() for part in override.partition("="))
        value = _value(written) if equals else None
        changed = None
        if value is not None and all(path.split(".")):
            changed = document.put(path, value, f"--set {path}")
        if changed is None:
            raise UsageError(
                "E205",
                f"`{override}` sets nothing",
                where=f"--set {path}",
                why="VALUE is neither TOML nor a bare word" if equals and value is None else "",
                fix="write KEY=VALUE with a dotted path, as in steps.0.ratio=0.3",
            )
        document = changed
    return document


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
        raise refusal(cls, document, errors[0]) from None


def _bytes(path: Path, name: str) -> bytes:
    """Read a file whole, but no more than is needed to see that it is too large."""
    try:
        # Opening a pipe would wait for ever.
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise UsageError("E201", f"{name} {what}", where=str(path), fix="name a TOML file")
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as problem:
        raise UsageError(
            "E201",
            f"{name} cannot be read",
            where=str(path),
            why=problem.strerror or str(problem),
            fix="name a TOML file that you may read",
        ) from None
    if len(raw) > MOST_BYTES:
        raise UsageError(
            "E202", f"{name} is larger than 1 MiB", where=str(path), fix="is it the right file?"
        )
    return raw


def _value(written: str) -> object:
    """Read the VALUE of an override; None for what is neither TOML nor a bare word."""
    try:
        document = tomllib.loads(f"value = {written}")
        return document["value"] if len(document) == 1 else None
    except (ValueError, RecursionError):
        bare = written and written[0] not in "\"'[{" and written.isprintable()
        return written if bare else None
