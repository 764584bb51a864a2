"""The lock: what a clock once said, kept so that a rebuild decides alike.

A choice is made by facts that repeat. Where instructions cannot be counted, a clock may veto; it
would not say the same tomorrow, so its word is written down beside the recipe and obeyed.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgepack import publish
from edgepack.errors import UsageError

NAME = "edgepack.lock"


class Lock:
    """Ratios of measured times by what they were measured of; written as soon as one is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ratios = _read(path)

    def get(self, key: str) -> float | None:
        """Return what was measured once."""
        return self._ratios.get(key)

    def put(self, key: str, ratio: float) -> None:
        """Keep a ratio."""
        self._ratios[key] = round(ratio, 3)
        text = json.dumps({"schema": SCHEMA, "timed": self._ratios}, indent=2, sort_keys=True)
        with publish.file(self._path) as stage:
            stage.write_text(text + "\n")


SCHEMA = "edgepack.lock/1"


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}")
        return {str(key): float(ratio) for key, ratio in document["timed"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UsageError(
            "E231",
            f"{path.name} cannot be read",
            where=str(path),
            why=str(problem),
            fix="restore it, or delete it to measure anew",
        ) from problem
