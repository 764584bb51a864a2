"""Turns text into a model's integer inputs with the tokenizer that came with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.data.rows import Text
from edgepack.errors import UsageError
from edgepack.types import TensorSpec, file_digest

if TYPE_CHECKING:
    from edgepack.types import Array

FILES = ("tokenizer.json", "tokenizer_config.json", "config.json")
"""What decides how text becomes numbers, and names of classes their ids."""
MOST_TOKENS = 512
"""No text becomes longer: attention grows with the square, and devices are small."""
DEFAULT_TOKENS = 128
"""Where neither the tokenizer nor its configuration says how long a text may be."""


class Encoder:
    """A tokenizer that gives one model's inputs.

    Text is cut at the configuration's `model_max_length`, else at the tokenizer's own truncation,
    else at `DEFAULT_TOKENS`, and never padded; a model of fixed length has it cut and padded to
    that length.

    Raises:
        UsageError: E285 when the tokenizer cannot be read.
    """

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec]) -> None:
        self._tokenizer = open_tokenizer(folder)
        self._types = {spec.name: spec.dtype for spec in inputs}
        config = settings(folder, "tokenizer_config.json")
        own = (self._tokenizer.truncation or {}).get("max_length", DEFAULT_TOKENS)
        longest = config.get("model_max_length")
        limit = int(min(longest if isinstance(longest, int | float) else own, MOST_TOKENS))
        self._tokenizer.no_padding()
        if fixed := [
            s.shape[1] for s in inputs if len(s.shape) == 2 and isinstance(s.shape[1], int)
        ]:
            limit = int(fixed[0])
            self._pad(limit, config.get("pad_token"))
        self._tokenizer.enable_truncation(max_length=limit)

    def encode(self, text: Text) -> dict[str, Array]:
        """Return the arrays [1, n] that the model takes of ids, mask and token types."""
        coded = self._tokenizer.encode(text.first, text.second)
        given = {
            "input_ids": coded.ids,
            "attention_mask": coded.attention_mask,
            "token_type_ids": coded.type_ids,
        }
        return {n: np.array([v], self._types[n]) for n, v in given.items() if n in self._types}

    def _pad(self, length: int, token: Any) -> None:
        word = token.get("content") if isinstance(token, dict) else token
        known = self._tokenizer.token_to_id(word) if isinstance(word, str) else None
        if known is None:
            self._tokenizer.enable_padding(length=length)
        else:
            self._tokenizer.enable_padding(length=length, pad_id=known, pad_token=word)


def open_tokenizer(folder: Path) -> Any:
    """Read ``tokenizer.json``.

    Raises:
        UsageError: E285 when it cannot be read.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as problem:  # the library raises nothing narrower
        raise UsageError(
            "E285",
            "the tokenizer cannot be read",
            where="tokenizer.json",
            why=str(problem),
            fix="save it again with `tokenizer.save_pretrained(folder)`",
        ) from problem


def settings(folder: Path, name: str) -> dict[str, Any]:
    """Return a JSON file of settings beside the tokenizer; nothing where there is none.

    Raises:
        UsageError: E285 when it is not JSON.
    """
    path = folder / name
    try:
        read = json.loads(path.read_bytes()) if path.is_file() else {}
    except (ValueError, RecursionError) as problem:
        raise UsageError(
            "E285", f"{name} is not JSON", where=name, why=str(problem), fix="save it again"
        ) from problem
    return read if isinstance(read, dict) else {}


def tokenizer_digest(folder: Path | None) -> dict[str, str]:
    """Return the SHA-256 of each file that decides how text is read."""
    paths = [folder / name for name in FILES] if folder else []
    return {path.name: file_digest(path) for path in paths if path.is_file()}
