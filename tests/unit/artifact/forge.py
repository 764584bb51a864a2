"""A small artifact, and a forge that builds false ones out of the same parts."""

import hashlib
import io
import zlib

import pytest

from edgepack.artifact import canonical
from edgepack.artifact import format as layout
from edgepack.artifact.check import check
from edgepack.errors import ArtifactError

TENSOR = {"name": "x", "dtype": "float32", "shape": [1, 4]}
SETTINGS = {"threads": 1, "optimization": "all", "providers": ["CPUExecutionProvider"]}
FIELDS = {
    "name": "digits",
    "release": 3,
    "target": "arm64",
    "isa": {"arch": "aarch64", "features": ["neon"]},
    "runtime": {"package": "onnxruntime", "minimum": "1.21", "maximum": "1.31.1"},
    "session": {**SETTINGS, "entries": {"session.intra_op.allow_spinning": "0"}},
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
    "outputs": [{"name": "y", "dtype": "int64", "shape": ["batch"]}],
    "preprocessing": [],
    "postprocessing": [],
    "tokenizer": ["assets/tokenizer.json"],
    "scheme": "w8a8-static",
    "tolerance": {"exact": False, "relative": 1e-7, "cosine": 0.9999},
    "golden": {
        "generated": False,
        "runtime": "onnxruntime 1.31.1",
        "session": {**SETTINGS, "entries": {"session.x64quantprecision": "1"}},
        "vectors": [
            {"inputs": [TENSOR], "outputs": [{"name": "y", "dtype": "int64", "shape": [1]}]}
        ],
    },
    "passes": [{"name": "prune", "version": 2, "options": {"ratio": 0.5, "note": "ä€"}}],
    "seed": 0,
    "edgepack": "0.1.0",
    "source": "ab" * 32,
    "data": {"evaluation": "cd" * 32},
    "key_id": None,
    "critical": [],
}


def contents(weights: int = 900) -> dict[str, bytes]:
    """Return the files that `FIELDS` describes."""
    return {
        "model.onnx": bytes(i * 7 % 251 for i in range(weights)),
        "README.md": b"# digits\n",
        "assets/tokenizer.json": b"{}",
        "golden/0/input.0.bin": b"\0\0\x80?" * 4,
        "golden/0/output.0.bin": (2**40 + 5).to_bytes(8, "little"),
    }


def manifest_of(files: dict[str, bytes], **changes: object) -> dict[str, object]:
    """Return a manifest as plain JSON."""
    records = [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    return {**FIELDS, "format": "edgepack.artifact/1", "files": records, **changes}


def forge(
    files: dict[str, bytes] | None = None,
    manifest: bytes | None = None,
    *,
    signature: bytes | None = None,
    **changes: object,
) -> list[tuple[str, bytes]]:
    """Return the entries of an artifact whose digests are right, whatever else is wrong."""
    files = contents() if files is None else files
    manifest = canonical.dumps(manifest_of(files, **changes)) if manifest is None else manifest
    line = layout.digest_line(hashlib.sha256(manifest).hexdigest())
    signed = [(layout.SIGNATURE, signature)] if signature is not None else []
    return [(layout.MANIFEST, manifest), (layout.DIGEST, line), *signed, *sorted(files.items())]


def zipped(entries: list[tuple[str, bytes]]) -> bytes:
    """Return a container in the one spelling allowed."""
    out, places = b"", []
    for name, data in entries:
        header = layout.local_header(name, len(data), zlib.crc32(data))
        sha256 = hashlib.sha256(data).hexdigest()
        place = len(out) + len(header)
        places.append(layout.Entry(name, place, len(data), zlib.crc32(data), sha256))
        out += header + data
    return out + layout.directory(places)


def judged(data: bytes):
    """Check bytes as a reader checks a file."""
    return check(io.BytesIO(data), len(data))


def refused(data: bytes) -> str:
    """Return the code under which bytes are refused."""
    with pytest.raises(ArtifactError) as caught:
        judged(data)
    assert caught.value.fix
    assert caught.value.status == 6
    return caught.value.code
