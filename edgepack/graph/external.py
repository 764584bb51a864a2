"""Reads weights that lie in a file beside a foreign model, and only there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgepack.errors import ModelError

_KEYS = {"location", "offset", "length", "checksum"}


def read_external(folder: Path, entries: list[tuple[str, str]], need: int, where: str) -> bytes:
    """Return the bytes that a tensor's external data name.

    Args:
        folder: the model's folder; the file must lie in it under a plain name.
        entries: keys and values of `TensorProto.external_data`.
        need: bytes that the tensor's dtype and dims ask for.
        where: the tensor, for messages.

    Raises:
        ModelError: E407 for anything but `need` bytes of a plain, singly linked file.
    """
    values = dict(entries)
    if len(values) != len(entries) or not set(values) <= _KEYS or "location" not in values:
        raise _refused(where, f"its keys are {[key for key, _ in entries]}")
    name = values["location"]
    if not name or name in {".", ".."} or any(c in name for c in "/\\\0:"):
        raise _refused(where, f"`{name[:80]!r}` is not a plain file name")
    offset = _number(values, "offset", 0, where)
    try:
        # Opening a fifo must not wait, and a link must not lead elsewhere.
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise _refused(where, f"cannot open `{name[:80]}`: {reason}") from problem
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise _refused(where, f"`{name[:80]}` is not a regular file with one name")
    with os.fdopen(descriptor, "rb") as stream:
        length = _number(values, "length", max(0, status.st_size - offset), where)
        if length != need:
            raise _refused(where, f"it needs {need} bytes, {length} are announced")
        if offset + length > status.st_size:
            raise _refused(where, f"`{name[:80]}` ends before byte {offset + length}")
        stream.seek(offset)
        return stream.read(length)


def _number(values: dict[str, str], key: str, default: int, where: str) -> int:
    text = values.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _refused(where, f"{key} `{text[:40]}` is not a size")
    return int(text)


def _refused(where: str, why: str) -> ModelError:
    return ModelError(
        "E407",
        f"the external data of {where} are refused",
        why=why,
        fix="put the weights into a plain file beside the model, or save the model as one file",
    )
