"""How an artifact is refused: one code for each kind of fault (docs/artifact.md lists them)."""

from __future__ import annotations

from edgepack.errors import ArtifactError

AGAIN = "fetch or build the artifact again"


def refused(
    code: str, what: str, *, where: str = "", why: str = "", fix: str = AGAIN
) -> ArtifactError:
    """Return the error of one fault; the place is an entry of the file or a manifest field."""
    return ArtifactError(code, what, where=where, why=why, fix=fix)
