"""Every error that edgepack can give, read from its own source: code, sentence, fix."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from edgepack.types import Frozen

CODE = re.compile(r"E[1-9]\d\d")
PACKAGE = Path(__file__).parent.parent


class Cause(Frozen):
    """One way in which an error comes about.

    Attributes:
        code: its first digit is the exit status, 7 being 70.
        what: the sentence; ``…`` stands for what is filled in.
        why: the cause, where the source says one.
        fix: what to do.
        file: where it is raised, from the package's folder on.
    """

    code: str
    what: str
    why: str
    fix: str
    file: str


def causes() -> tuple[Cause, ...]:
    """Return all causes in the order of their codes, each once."""
    found: dict[tuple[str, str], Cause] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for cause in _in(ast.parse(path.read_text()), str(path.relative_to(PACKAGE))):
            found.setdefault((cause.code, cause.what), cause)
    return tuple(sorted(found.values(), key=lambda cause: cause.code))


def _in(tree: ast.AST, file: str) -> Iterator[Cause]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts, named = node.args, {k.arg: k.value for k in node.keywords}
        elif isinstance(node, ast.Tuple):
            parts, named = node.elts, {}
        else:
            continue
        for place, part in enumerate(parts):
            code = part.value if isinstance(part, ast.Constant) else None
            if not isinstance(code, str) or not CODE.fullmatch(code):
                continue
            what = "; or ".join(_texts(parts[place + 1])) if len(parts) > place + 1 else ""
            fix = named.get("fix") or (parts[place + 2] if len(parts) > place + 2 else None)
            if what:
                yield Cause(
                    code=code,
                    what=what,
                    why="; or ".join(_texts(named.get("why"))),
                    fix="; or ".join(_texts(fix)),
                    file=file,
                )


def _texts(node: ast.expr | None) -> list[str]:
    """Return what an expression may come to, in words; nothing where it is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return [text] if text else []
        case ast.JoinedStr(values=parts):
            words = (p.value if isinstance(p, ast.Constant) else "…" for p in parts)
            return ["".join(str(word) for word in words)]
        case ast.IfExp(body=yes, orelse=no):
            return _texts(yes) + _texts(no)
        case ast.Call(func=ast.Name(id="did_you_mean")):
            return ["take the name that the message suggests"]
        case _:
            return []
