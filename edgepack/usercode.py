"""A user's Python file: what it defines and what decides its answers, and how it is run."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from edgepack.errors import EdgepackError, UsageError, did_you_mean
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


class UserFile:
    """A file whose code is run with its own folder at hand, and its own modules.

    Args:
        file: the Python file.
        reference: as the user wrote it.
        raised: makes an error of an exception's type, its place and its text.
    """

    def __init__(
        self, file: Path, reference: str, raised: Callable[[str, str, str], EdgepackError]
    ) -> None:
        self._file = file
        self._reference = reference
        self._raised = raised
        self._modules: dict[str, ModuleType] = {}

    def load(self, name: str) -> Any:
        """Execute the file and return what it defines under a name; call it while `running`."""
        spec = importlib.util.spec_from_file_location(self._file.stem, self._file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look themselves up there
        spec.loader.exec_module(module)
        return getattr(module, name)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let imports find what lies beside the file, and name what the user's code raises.

        Modules of that folder are this file's own: those of another one that bear the same names
        are neither taken nor lost. What the code prints goes to standard error, since standard
        output is the command's result.
        """
        folder = self._file.parent
        hidden = self._withdraw()
        sys.modules.update(self._modules)
        sys.path.insert(0, str(folder))
        try:
            with redirect_stdout(sys.stderr):
                yield
        except EdgepackError:
            raise
        except (Exception, SystemExit) as problem:
            frames = traceback.extract_tb(problem.__traceback__)
            own = [f for f in frames if Path(f.filename).is_relative_to(folder)]
            where = [f"{Path(f.filename).relative_to(folder)}:{f.lineno}" for f in own]
            last = where[-1] if where else self._reference
            raise self._raised(type(problem).__name__, last, str(problem)) from problem
        finally:
            sys.path.remove(str(folder))
            self._modules = self._withdraw()
            sys.modules.update(hidden)

    @cached_property
    def _beside(self) -> set[str]:
        """Top-level names of the modules that lie beside the file and that it may import."""
        files = [name for name in closure(self._file, self._reference) if name.endswith(".py")]
        return {Path(name).parts[0].removesuffix(".py") for name in files}

    def _withdraw(self) -> dict[str, ModuleType]:
        """Take modules of those names out of the loaded ones and return them."""
        names = [name for name in sys.modules if name.partition(".")[0] in self._beside]
        return {name: sys.modules.pop(name) for name in names}
