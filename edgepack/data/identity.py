"""Tells samples apart by what they hold."""

from __future__ import annotations

import hashlib

from edgepack.types import Sample


def identity(sample: Sample) -> bytes:
    """Return a digest of 16 bytes over a sample's inputs: names, types, shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for run in sample.inputs:
        for name, array in run.items():
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            flat = array.tolist() if array.dtype.kind in "OU" else None
            digest.update(repr(flat).encode() if flat else array.tobytes())
    return digest.digest()
