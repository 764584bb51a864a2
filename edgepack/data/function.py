"""Runs what a user names as `data.py:function`; nothing runs before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.data.arrays import check_columns
from edgepack.errors import UsageError
from edgepack.usercode import UserFile, code_digest, find


class UserFunction:
    """A function in a file beside the recipe.

    Args:
        file: the Python file.
        name: the function's name.
        reference: the two as the user wrote them.

    Raises:
        UsageError: E272, E273 as `code.find`.
    """

    def __init__(self, file: Path, name: str, reference: str) -> None:
        find(file, name, reference)
        self.name = name
        self.reference = reference
        self._file = file
        self._code = UserFile(file, reference, self._raised)
        self._loaded: Any = None

    @property
    def digest(self) -> str:
        """SHA-256 over the function's name and all files that decide what it gives."""
        return code_digest(self._file, self.name, self.reference)

    def __call__(self, *arguments: Any) -> Any:
        """Load the file where it is not yet, and call the function.

        Raises:
            UsageError: E274 with the line, when the code raises.
        """
        with self.running():
            if self._loaded is None:
                self._loaded = self._code.load(self.name)
            return self._loaded(*arguments)

    def running(self) -> AbstractContextManager[None]:
        """Run more of the code that the function came with, such as its iterator."""
        return self._code.running()

    def marked(self, attribute: str) -> bool:
        """Whether the function, once it was called, carries a true attribute of that name."""
        return bool(getattr(self._loaded, attribute, False))

    def _raised(self, kind: str, where: str, why: str) -> UsageError:
        return UsageError(
            "E274",
            f"`{self.reference}` raised {kind}",
            where=where,
            why=why,
            fix="run the function on its own and mend it",
        )


class FunctionRows:
    """The items that a function gives: called once, or anew each time where it gives an iterator.

    It may return any iterable of items (see `rows.row_of`), columns as a mapping of arrays with a
    common leading axis, a pair ``(x, y)`` of such columns, or one array.
    """

    def __init__(self, function: UserFunction) -> None:
        self._function = function
        self._kept: Any = None

    def __len__(self) -> int:
        items = self._items()
        return len(items) if hasattr(items, "__len__") else sum(1 for _ in self)

    def __iter__(self) -> Iterator[Any]:
        items = self._items()
        if isinstance(items, list | tuple | Columns):
            yield from items
            return
        with self._function.running():
            items = iter(items)
        while True:
            with self._function.running():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def _items(self) -> Any:
        """Return the items; an iterator serves once, anything else is kept."""
        if self._kept is not None:
            return self._kept
        items = _columns(self._function(), self._function.reference)
        iterable = hasattr(items, "__iter__") or hasattr(items, "__getitem__")
        if not iterable or isinstance(items, str | bytes):
            raise UsageError(
                "E289",
                f"`{self._function.reference}` gives no items but {type(items).__name__}",
                where=self._function.reference,
                fix="return a list or a generator of samples, or arrays `(x, y)`",
            )
        if not hasattr(items, "__next__"):
            self._kept = items
        return items


class Columns:
    """Columns with a common leading axis, seen as items."""

    def __init__(self, x: Any, y: Any, where: str) -> None:
        named = {f"x.{k}": v for k, v in x.items()} if isinstance(x, Mapping) else {"x": x}
        sized = {**named, **({} if y is None else {"y": y})}
        check_columns({k: _sized(v) for k, v in sized.items()}, where)
        self._x = x
        self._y = y
        self._count = min((len(v) for v in sized.values()), default=0)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        for i in range(self._count):
            many = isinstance(self._x, Mapping)
            x = {k: v[i] for k, v in self._x.items()} if many else self._x[i]
            yield x if self._y is None else (x, self._y[i])


def _columns(result: Any, where: str) -> Any:
    """See columns as items, and leave everything else as it is."""
    pair = isinstance(result, tuple) and len(result) == 2
    if isinstance(result, Mapping):
        return Columns(result, None, where)
    if pair and all(_is_column(part) for part in result):
        return Columns(result[0], result[1], where)
    return Columns(result, None, where) if hasattr(result, "shape") else result


def _is_column(part: Any) -> bool:
    return hasattr(part, "shape") or isinstance(part, list | Mapping)


def _sized(column: Any) -> np.ndarray[Any, Any]:
    """Return an array that has the column's length, to compare without converting it."""
    if isinstance(column, list) or getattr(column, "shape", None):
        return np.empty((len(column), 0))
    return np.empty(())
