"""Decides whether a file is an artifact.

The order is the point. First the container, byte by byte; then the manifest against its digest,
its spelling, its critical fields and its schema; last, the manifest's files against those found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import ValidationError

from edgepack.artifact import canonical
from edgepack.artifact.format import DIGEST, LEADING, MANIFEST, Entry, digest_line
from edgepack.artifact.manifest import FORMAT, Manifest
from edgepack.artifact.refusal import refused
from edgepack.artifact.scan import exactly, scan


@dataclass(frozen=True)
class Checked:
    """A manifest that its file has been held against, its digest, and where everything lies."""

    manifest: Manifest
    digest: str
    entries: tuple[Entry, ...]


def check(stream: BinaryIO, size: int) -> Checked:
    """Check a whole artifact of `size` bytes from the start of `stream`.

    Raises:
        ArtifactError: E601 to E619, for the first fault found.
    """
    entries = scan(stream, size)
    digest = entries[0].sha256
    if _contents(stream, entries[1]) != digest_line(digest):
        raise refused("E610", "the manifest is not the one that was digested", where=DIGEST)
    manifest = read_manifest(_contents(stream, entries[0]))
    found = [(e.name, e.size, e.sha256) for e in entries if e.name not in LEADING]
    told = [(f.name, f.size, f.sha256) for f in manifest.files]
    if found != told:
        odd = min({name for name, *_ in set(found) ^ set(told)})
        raise refused("E615", "a file is not the one that the manifest lists", where=odd)
    return Checked(manifest, digest, entries)


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest's bytes: spelling first, then what must be understood, then the schema.

    Raises:
        ArtifactError: E611 to E614.
    """
    try:
        value = canonical.loads(data)
    except ValueError as problem:
        raise refused("E611", "the manifest is not canonical JSON", why=str(problem)) from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise refused("E612", "the artifact's format is not known", why=f"this reads {FORMAT}",
                      fix="use a newer edgepack")  # fmt: skip
    critical = value.get("critical")
    if isinstance(critical, list):
        for name in critical:
            if not isinstance(name, str) or name not in Manifest.model_fields.keys() & value:
                raise refused("E613", "the artifact demands what this edgepack does not know",
                              where=str(name), fix="use a newer edgepack")  # fmt: skip
    try:
        manifest = Manifest.model_validate_json(data, strict=True)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or MANIFEST
        raise refused("E614", "the manifest breaks a rule", where=where, why=first["msg"]) from None
    spelled = manifest.model_dump()
    known = {name: value[name] for name in spelled if name in value}
    if canonical.dumps(spelled) != canonical.dumps(known):
        raise refused("E614", "the manifest leaves something out that must be said")
    return manifest


def _contents(stream: BinaryIO, entry: Entry) -> bytes:
    """Read an entry that has a cap, as it was scanned."""
    stream.seek(entry.offset)
    data = exactly(stream, entry.size)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise refused("E620", "the file changed while it was read", where=entry.name)
    return data
