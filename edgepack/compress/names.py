"""Names of parts that a user writes as patterns, where `*` and `?` stand for letters."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from edgepack.errors import UsageError, did_you_mean


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a name fits one of some patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def require_names(patterns: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuse a pattern that fits no part, for then it is mistyped.

    Args:
        patterns: what the user wrote.
        names: of all parts that may be meant.
        where: the option.

    Raises:
        UsageError: E263.
    """
    for pattern in patterns:
        if not any(fits(name, (pattern,)) for name in names):
            raise UsageError(
                "E263",
                f"no part of the model is named `{pattern}`",
                where=where,
                fix=did_you_mean(pattern, names),
            )
