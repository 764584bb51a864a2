"""Reads rows of text from `.jsonl`, `.csv` and `.txt` files, as a stream."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from edgepack.data.rows import LABELS
from edgepack.errors import UsageError


class TextRows:
    """The records of a file of text; it is read anew at each iteration."""

    def __init__(self, path: Path, reference: str) -> None:
        self._path = path
        self._reference = reference

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return records(self._path, self._reference)


def records(path: Path, reference: str, *, lists: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the records of a `.jsonl`, `.csv` or `.txt` file, the last with a `text` a line.

    Args:
        path: the file; its ending says what it is.
        reference: the file as the user wrote it.
        lists: whether a label may be a list, one value a run.

    Raises:
        UsageError: E288 with the line that cannot be read.
    """
    if path.suffix == ".csv":
        return _csv(path, reference)
    return _txt(path, reference) if path.suffix == ".txt" else _jsonl(path, reference, lists)


def _txt(path: Path, reference: str) -> Iterator[dict[str, Any]]:
    """Yield one text a line; empty lines are left out."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig").strip()
            except UnicodeDecodeError as problem:
                raise _malformed(f"{reference}:{number}", str(problem)) from None
            if text:
                yield {"text": text}


def _jsonl(path: Path, reference: str, lists: bool) -> Iterator[dict[str, Any]]:
    """Yield one object a line; empty lines are left out."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig"), parse_constant=_no_number)
            except (ValueError, RecursionError) as problem:
                raise _malformed(f"{reference}:{number}", str(problem)) from None
            if not isinstance(record, dict):
                raise _malformed(f"{reference}:{number}", "a line is not an object")
            for key in LABELS:
                if isinstance(record.get(key), dict if lists else list | dict):
                    raise _malformed(f"{reference}:{number}", f"`{key}` is no number and no name")
            yield record


def _csv(path: Path, reference: str) -> Iterator[dict[str, Any]]:
    """Yield one record a row; labels that read as numbers are numbers."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise _malformed(
                        f"{reference}:{reader.line_num}",
                        "the row has not as many cells as the header",
                    )
                yield {k: _number(v) if k in LABELS else v for k, v in row.items()}
        except (csv.Error, UnicodeDecodeError) as problem:
            raise _malformed(f"{reference}:{reader.line_num + 1}", str(problem)) from None


def _number(cell: str) -> int | float | str | None:
    if not cell:
        return None
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return cell


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _malformed(where: str, why: str) -> UsageError:
    return UsageError(
        "E288",
        "a row cannot be read",
        where=where,
        why=why,
        fix="write UTF-8: one JSON object a line, CSV with a header, or one text a line (.txt)",
    )
