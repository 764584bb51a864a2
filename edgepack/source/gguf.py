"""A GGUF file as a source: a decoder, its tokenizer and its weights in one file."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import weakref
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgepack.child import QUIET
from edgepack.errors import ModelError, UsageError
from edgepack.source.transformers import unsupported
from edgepack.types import Asset, Samples, Split, digest_of, file_digest

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

MAGIC = b"GGUF"
VERSIONS = (2, 3)
TASK = "text-generation"
STRING = 8
"""The format's number of strings."""
LONGEST = 256
"""Bytes in which the architecture is named."""


class GgufSource:
    """A decoder of llama.cpp's format; its weights become float32, whatever they were.

    The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

    Args:
        path: the file.
        task: None, or ``text-generation``, which is what such files are for.

    Attributes:
        architecture: the family of the model, as the file spells it; may be empty.

    Raises:
        UsageError: E237 when the package that reads such files is not installed.
        ModelError: E440 when the task is another, E471 when the file is no such file.
    """

    gives: Literal["model", "graph"] = "model"
    metric = ""

    def __init__(self, path: Path, task: str | None = None) -> None:
        self.name = path.stem
        self.path = path
        if task not in (TASK, None):
            raise unsupported(f"the task `{task}` is not one of a GGUF file", path.name, (TASK,))
        if find_spec("gguf") is None:
            raise UsageError(
                "E237",
                "GGUF files are read by the package `gguf`, which is not installed",
                where=path.name,
                fix="pip install 'edgepack[gguf]'",
            )
        self.architecture = read_architecture(path)
        self.digest = digest_of("gguf", file_digest(path))
        self.data: Mapping[Split, Samples] = {}

    @cached_property
    def tokenizer(self) -> Path | None:
        """A folder with ``tokenizer.json``, made when it is first asked for.

        It goes when the source does.

        Raises:
            ModelError: E473 when the tokenizer in the file cannot be read.
        """
        os.environ.update(QUIET)
        from edgepack.source.dequantised import write_tokenizer

        folder = Path(tempfile.mkdtemp(prefix="edgepack-tokenizer-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        write_tokenizer(self.path, folder)
        return folder

    @cached_property
    def assets(self) -> tuple[Asset, ...]:
        """The tokenizer's files."""
        assert self.tokenizer
        return tuple(Asset(path.name, path) for path in sorted(self.tokenizer.glob("*.json")))

    def load(self, context: Context) -> Model:
        """Return the model with its weights as float32.

        Raises:
            ModelError: E471 when the file is damaged, E472 when transformers does not know the
                architecture, E474 when weights are missing.
        """
        os.environ.update(QUIET)
        from edgepack.source.dequantised import load

        return load(self)

    def fresh(self, context: Context) -> Model:
        """Return the model with random weights; those in the file are not read."""
        os.environ.update(QUIET)
        from edgepack.source.dequantised import untrained

        return untrained(self)


def read_architecture(path: Path) -> str:
    """Return the architecture, which files name first; nothing where one does not.

    Raises:
        ModelError: E471 when the file does not begin as a GGUF file does.
    """
    with path.open("rb") as stream:
        head = stream.read(LONGEST)
    if head[:4] != MAGIC:
        raise damaged(path, "it does not begin with `GGUF`")
    try:
        version, _, _, length = struct.unpack_from("<IQQQ", head, 4)
        after = 32 + length
        kind, size = struct.unpack_from("<IQ", head, after)
    except struct.error:
        raise damaged(path, "it ends within its header") from None
    if version not in VERSIONS:
        raise damaged(
            path, f"its version is {version}, and {' and '.join(map(str, VERSIONS))} are read"
        )
    if head[32:after] != b"general.architecture" or kind != STRING:
        return ""
    return head[after + 12 : after + 12 + size].decode("utf-8", "replace")


def damaged(path: Path, why: str) -> ModelError:
    """Refuse a file that cannot be read to its end."""
    return ModelError(
        "E471",
        f"{path.name} cannot be read as GGUF",
        where=str(path),
        why=why,
        fix="fetch the file again, and compare its checksum with the publisher's",
    )
