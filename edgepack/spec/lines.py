"""Where each key of a TOML document stands, which `tomllib` does not tell."""

from __future__ import annotations

import re
import tomllib
from collections import Counter

_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|(?P<comment>#[^\n]*)"
    r"|[\[\]{}=,.\n]"
    r"|[^\s\[\]{}=,.#\"']+",
    re.DOTALL,
)
_END_OF_SCALAR = {",", "]", "}", "\n", ""}


def line_index(text: str) -> dict[str, int]:
    """Return the line, from 1, of each table, key and array element, by dotted path.

    Elements of arrays are numbered: ``steps.1.ratio``. A table that only dotted keys or longer
    headers name stands where it is first named. The text must be valid TOML.
    """
    scan = _Scan(text)
    scan.document()
    return scan.index


class _Scan:
    """Walks the tokens of valid TOML; the text's meaning is left to `tomllib`."""

    def __init__(self, text: str) -> None:
        self.index: dict[str, int] = {}
        self._elements: Counter[str] = Counter()
        self._tokens: list[tuple[str, int]] = []
        self._at = 0
        line, reached = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", reached, match.start())
            reached = match.start()
            if match["comment"] is None:
                self._tokens.append((match[0], line))
        self._tokens.append(("", line))

    @property
    def _token(self) -> str:
        return self._tokens[self._at][0]

    @property
    def _line(self) -> int:
        return self._tokens[self._at][1]

    def document(self) -> None:
        prefix = ""
        while self._token:
            if self._token == "\n":
                self._at += 1
            elif self._token == "[":
                prefix = self._header()
            else:
                self._assignment(prefix)

    def _header(self) -> str:
        line = self._line
        brackets = 2 if self._tokens[self._at + 1][0] == "[" else 1
        self._at += brackets
        *around, last = self._keys("]")
        self._at += brackets - 1
        path = ""
        for key in around:
            path = self._note(path, key, line, implied=True)
            # A path that runs through an array of tables means its latest element.
            if count := self._elements[path]:
                path = f"{path}.{count - 1}"
        path = self._note(path, last, line, implied=brackets == 2)
        if brackets == 1:
            return path
        self._elements[path] += 1
        return self._note(path, str(self._elements[path] - 1), line)

    def _assignment(self, path: str) -> None:
        line = self._line
        *around, last = self._keys("=")
        for key in around:
            path = self._note(path, key, line, implied=True)
        self._value(self._note(path, last, line))

    def _keys(self, end: str) -> list[str]:
        """Read a dotted key and the token that ends it."""
        keys = []
        while self._token != end:
            if self._token != ".":
                keys.append(_plain(self._token))
            self._at += 1
        self._at += 1
        return keys

    def _value(self, path: str) -> None:
        opening = self._token
        self._at += 1
        if opening not in {"[", "{"}:
            while self._token not in _END_OF_SCALAR:
                self._at += 1
            return
        number = 0
        while self._token not in {"]", "}"}:
            if self._token in {",", "\n"}:
                number += self._token == ","
                self._at += 1
            elif opening == "{":
                self._assignment(path)
            else:
                self._value(self._note(path, str(number), self._line))
        self._at += 1

    def _note(self, path: str, key: str, line: int, *, implied: bool = False) -> str:
        path = f"{path}.{key}" if path else key
        if not implied or path not in self.index:
            self.index[path] = line
        return path


def _plain(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key
