"""Unpacks an artifact into a fresh folder."""

from __future__ import annotations

import os
from pathlib import Path

from edgepack import publish
from edgepack.artifact.read import Artifact
from edgepack.artifact.refusal import refused


def unpack(artifact: Artifact, to: Path) -> None:
    """Write every file, the manifest's own included, into a folder that does not exist yet.

    The folder appears whole or not at all. Names were held against the grammar when the artifact
    was opened, so none leads outside; each file is made anew, and no link is followed.

    Raises:
        ArtifactError: E621 when the folder is already there, E620 when the artifact changed.
        HostError: E320 when the parent folder cannot be written.
    """
    if os.path.lexists(to):
        raise refused(
            "E621", f"{to.name} is already there", fix="name a folder that does not exist"
        )
    with publish.folder(to) as stage:
        for entry in artifact.entries:
            place = stage / entry.name
            place.parent.mkdir(parents=True, exist_ok=True)
            artifact.extract(entry.name, place)
