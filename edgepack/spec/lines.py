"""Where each key of a TOML document stands, which `tomllib` does not tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_ASSIGN = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[{]|[\]}]|\n|.",
    re.DOTALL,
)


def line_index(text: str) -> dict[str, int]:
    """Return the line, from 1, of each table and key, by dotted path.

    Elements of arrays of tables are numbered: ``steps.1.ratio``. What stands inside an inline table
    or array shares the line of its key. The text must be valid TOML.
    """
    index: dict[str, int] = {}
    tables: Counter[str] = Counter()
    prefix = ""
    for line, statement in _statements(text):
        if header := _HEADER.match(statement):
            path = _place(_split(header[2]), tables)
            if header[1] == "[[":
                tables[path] += 1
                path = f"{path}.{tables[path] - 1}"
            prefix = path + "."
            index[path] = line
        elif assignment := _ASSIGN.match(statement):
            index[prefix + ".".join(_split(assignment[1]))] = line
    return index


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each header or assignment with the line on which it begins."""
    text = text.replace("\r\n", "\n")
    line = begin = 1
    depth = 0
    parts: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        if token == "\n" and depth == 0:
            yield begin, "".join(parts)
            parts = []
            begin = line + 1
        elif not token.startswith("#"):
            parts.append(token)
        line += token.count("\n")
    yield begin, "".join(parts)


def _split(dotted: str) -> list[str]:
    return [
        key.encode().decode("unicode_escape")[1:-1] if key[0] == '"' else key.strip("'")
        for key in re.findall(_KEY, dotted)
    ]


def _place(keys: list[str], tables: Counter[str]) -> str:
    """Put in the number of the latest element wherever a path runs through an array of tables."""
    path = ""
    for position, key in enumerate(keys):
        path = f"{path}.{key}" if path else key
        if position < len(keys) - 1 and tables[path]:
            path = f"{path}.{tables[path] - 1}"
    return path
