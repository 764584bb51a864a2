"""The Artifact value: one `.edgepack` file that carries its own proof of what is in it."""

from edgepack.artifact.manifest import Manifest
from edgepack.artifact.read import Artifact
from edgepack.artifact.unpack import unpack
from edgepack.artifact.write import write_artifact

__all__ = ["Artifact", "Manifest", "unpack", "write_artifact"]
