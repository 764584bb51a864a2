"""Reads a user's Python file without running it: what it defines, and what decides its answers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from edgepack.errors import UsageError, did_you_mean
from edgepack.types import digest_of, file_digest


def find(file: Path, function: str, reference: str) -> None:
    """Make sure that a file defines a name at its top.

    Raises:
        UsageError: E272 when the file is no Python, E273 when it does not define the name.
    """
    names = set(_defined(_parse(file, reference).body))
    if function not in names and "*" not in names:
        raise UsageError(
            "E273",
            f"{file.name} defines no `{function}`",
            where=reference,
            fix=did_you_mean(function, names) if names else f"define `{function}` in {file.name}",
        )


def closure(file: Path, reference: str) -> dict[str, Path]:
    """Return the file, what it imports from its folder, and the data files that they name.

    Imports are followed wherever they stand; a string that names a file beside counts as one.

    Returns:
        Paths by their names within the folder, sorted.

    Raises:
        UsageError: E272 when one of them is no Python.
    """
    folder = file.parent
    found = {file.name: file}
    waiting = [file]
    while waiting:
        source = waiting.pop()
        for name in sorted(set(_named(_parse(source, reference), folder, source))):
            path = folder / name
            if name not in found and path.is_file():
                found[name] = path
                waiting += [path] if path.suffix == ".py" else []
    return dict(sorted(found.items()))


def code_digest(file: Path, function: str, reference: str) -> str:
    """Return a SHA-256 over a function's name and its file's `closure`."""
    files = {name: file_digest(path) for name, path in closure(file, reference).items()}
    return digest_of("function", function, files)


def _parse(file: Path, reference: str) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError) as problem:
        line = f":{problem.lineno}" if isinstance(problem, SyntaxError) and problem.lineno else ""
        raise UsageError(
            "E272",
            f"{file.name} is no Python",
            where=f"{file.name}{line}",
            why=problem.msg if isinstance(problem, SyntaxError) else str(problem),
            fix=f"mend it, or correct `{reference}`",
        ) from None


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        else:
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name | ast.FunctionDef))
            for name in stored:
                if isinstance(name, ast.FunctionDef):
                    yield name.name
                elif isinstance(name.ctx, ast.Store):
                    yield name.id


def _named(tree: ast.Module, folder: Path, source: Path) -> Iterator[str]:
    """Yield names, within the folder, of files that a module may import or open."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _beside(node.value)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            levels = len(source.parent.relative_to(folder).parts) - node.level + 1
            base = source.parent.relative_to(folder).parts[: max(0, levels)] if node.level else ()
            parts = [*base, *(node.module or "").split(".")] if node.module else [*base]
            for alias in node.names:
                yield from _files([*parts, alias.name])


def _files(parts: list[str]) -> Iterator[str]:
    """Yield every file that importing a dotted name may load."""
    for end in range(1, len(parts) + 1):
        stem = "/".join(parts[:end])
        yield from (f"{stem}.py", f"{stem}/__init__.py")


def _beside(text: str) -> list[str]:
    """Return a string if it reads as the name of a file at or below the folder."""
    usual = 0 < len(text) < 200 and text.isprintable() and not text.startswith("/")
    return [text] if usual and ".." not in text and not text.endswith("/") else []
