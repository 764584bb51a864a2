"""Reads a user's Python file without running it: what it defines, and which files decide it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from edgepack.errors import UsageError


def defined(file: Path) -> set[str]:
    """Return the names that a file defines or imports at its top; ``*`` where it imports all.

    Raises:
        UsageError: E262 when the file is no Python.
    """
    names: set[str] = set()
    for node in _parse(file).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        else:
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            names |= {n.id for n in stored if isinstance(n.ctx, ast.Store)}
    return names


def files_behind(file: Path) -> dict[str, Path]:
    """Return the file, what it imports from its folder, and files there that its strings name.

    Returns:
        Paths by their names within the folder, sorted.

    Raises:
        UsageError: E262 when one of them is no Python.
    """
    found = {file.name: file}
    waiting = [file]
    while waiting:
        source = waiting.pop()
        for name in sorted(set(_mentioned(source, file.parent))):
            path = file.parent / name
            if name not in found and path.is_file():
                found[name] = path
                waiting += [path] if path.suffix == ".py" else []
    return dict(sorted(found.items()))


def _mentioned(source: Path, folder: Path) -> Iterator[str]:
    """Yield names within the folder of files that a module may import or open."""
    package = source.parent.relative_to(folder).parts
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            plain = node.value.isprintable() and len(node.value) < 200 and ".." not in node.value
            yield from [node.value] if plain and not node.value.startswith("/") else []
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            for alias in node.names:
                yield from _modules([*above, *(node.module or "").split("."), alias.name])


def _modules(parts: list[str]) -> Iterator[str]:
    parts = [part for part in parts if part]
    for end in range(1, len(parts) + 1):
        stem = "/".join(parts[:end])
        yield from (f"{stem}.py", f"{stem}/__init__.py")


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError) as problem:
        line = f":{problem.lineno}" if isinstance(problem, SyntaxError) and problem.lineno else ""
        raise UsageError(
            "E262",
            f"{file.name} is no Python",
            where=f"{file.name}{line}",
            why=problem.msg if isinstance(problem, SyntaxError) else str(problem),
            fix="mend it",
        ) from None
