"""Writes an artifact; equal input gives equal bytes anywhere, at any time."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from edgepack import publish
from edgepack.artifact import canonical
from edgepack.artifact import format as layout
from edgepack.artifact.format import Entry
from edgepack.artifact.manifest import FORMAT, Manifest
from edgepack.artifact.read import Artifact
from edgepack.artifact.refusal import refused
from edgepack.artifact.scan import PIECE

Content = Path | bytes


def write_artifact(
    manifest_fields: Mapping[str, Any], files: Mapping[str, Content], to: Path
) -> Artifact:
    """Write an artifact beside its place, check it as a reader would, and rename it there.

    Args:
        manifest_fields: the fields of `Manifest` besides `format` and `files`.
        files: contents by name.
        to: the file to make or to replace.

    Raises:
        ArtifactError: E630 when the fields or names break a rule, E601 when it would be too large.
        HostError: E320 when the folder cannot be written.
    """
    measured = {name: _measure(files[name]) for name in sorted(files)}
    manifest = _manifest(manifest_fields, measured)
    digest = hashlib.sha256(manifest).hexdigest()
    contents: dict[str, Content] = {
        layout.MANIFEST: manifest,
        layout.DIGEST: layout.digest_line(digest),
        **{name: files[name] for name in measured},
    }
    with publish.file(to) as stage:
        with stage.open("xb") as stream:
            write_container(contents, stream)
        checked = Artifact.open(stage)
    return Artifact(to, checked.manifest, checked.digest, checked.size, checked.entries)


def write_container(contents: Mapping[str, Content], stream: BinaryIO) -> None:
    """Write entries in the order given, and the directory that they require."""
    entries: list[Entry] = []
    at = 0
    for name, content in contents.items():
        size, sha256, crc = _measure(content)
        header = layout.local_header(name, size, crc)
        entries.append(Entry(name, at + len(header), size, crc, sha256))
        at = entries[-1].offset + size
        if at + len(layout.directory(entries)) > layout.LARGEST:
            raise refused("E601", "the artifact would be too large", fix="make the model smaller")
        stream.write(header)
        for piece in _pieces(content):
            stream.write(piece)
    stream.write(layout.directory(entries))


def _manifest(fields: Mapping[str, Any], measured: Mapping[str, tuple[int, str, int]]) -> bytes:
    fix = "correct the field or the file's name"
    if unknown := fields.keys() - (Manifest.model_fields.keys() - {"format", "files"}):
        raise refused("E630", "the manifest has no such field", where=min(unknown), fix=fix)
    records = [{"name": n, "size": size, "sha256": s} for n, (size, s, _) in measured.items()]
    try:
        manifest = Manifest.model_validate({**fields, "format": FORMAT, "files": records})
        data = canonical.dumps(manifest.model_dump())
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise refused(
            "E630", "the manifest breaks a rule", where=where, why=first["msg"], fix=fix
        ) from None
    except ValueError as problem:
        raise refused("E630", "the manifest has no JSON form", why=str(problem), fix=fix) from None
    if len(data) > layout.CAPS[layout.MANIFEST]:
        raise refused("E601", "the manifest is too large", fix="pack fewer files")
    return data


def _measure(content: Content) -> tuple[int, str, int]:
    """Return size, SHA-256 and CRC-32."""
    size, sha256, crc = 0, hashlib.sha256(), 0
    for piece in _pieces(content):
        size += len(piece)
        sha256.update(piece)
        crc = zlib.crc32(piece, crc)
    return size, sha256.hexdigest(), crc


def _pieces(content: Content) -> Iterator[bytes]:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece
