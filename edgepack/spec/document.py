"""A TOML document that knows where each of its values was written."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Document:
    """A TOML document and where each of its keys stands.

    Attributes:
        name: the file's name, for messages; empty where there is no file.
        data: the document itself.
        lines: line by dotted path.
        given: what the command line put in, by dotted path: the option that said so.
    """

    name: str
    data: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    def line(self, path: str) -> int | None:
        """Return the line of a dotted path, or of the nearest table around it."""
        place = self._nearest(path)
        return None if place in self.given else self.lines.get(place)

    def where(self, path: str) -> str:
        """Return ``file:line`` or the option of the command line, as precisely as it is known."""
        place = self._nearest(path)
        if place in self.given:
            return self.given[place]
        # A table that an option made stands nowhere in the file.
        below = [o for p, o in self.given.items() if path and p.startswith(f"{path}.")]
        if below and place != path:
            return below[0]
        line = self.lines.get(place)
        return f"{self.name}:{line}" if self.name and line else self.name

    def at(self, path: tuple[int | str, ...]) -> Any:
        """Return the value at a path, or None."""
        value: Any = self.data
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def put(self, path: str, value: Any, option: str) -> Self | None:
        """Return the document with a value put in by an option; missing tables are made.

        Returns:
            None where the path runs through what is no table, or an element that is not there.
        """
        data = copy.deepcopy(dict(self.data))
        *around, last = path.split(".")
        table: Any = data
        for key in around:
            if isinstance(table, dict):
                table = table.setdefault(key, {})
            elif (number := _element(table, key)) is not None:
                table = table[number]
            else:
                return None
        if isinstance(table, dict):
            table[last] = value
        elif (number := _element(table, last)) is not None:
            table[number] = value
        else:
            return None
        lines = {p: n for p, n in self.lines.items() if not f"{p}.".startswith(f"{path}.")}
        return type(self)(self.name, data, lines, {**self.given, path: option})

    def _nearest(self, path: str) -> str:
        while path and path not in self.given and path not in self.lines:
            path = path.rpartition(".")[0]
        return path


def _element(value: Any, key: str) -> int | None:
    if not isinstance(value, list):
        return None
    return next((number for number in range(len(value)) if str(number) == key), None)
