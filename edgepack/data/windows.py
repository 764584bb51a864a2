"""Running text in pieces of equal length, which is how a decoder's perplexity is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.data.rows import Text, row_of
from edgepack.data.tokens import open_tokenizer
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.data.reference import Rows

FEWEST = 2
"""Tokens from which there is one to foresee."""


class WindowRows:
    """Texts joined by line breaks, as windows of so many tokens that do not overlap.

    No token is added, none is left out but a last one that stands alone; the last window may be
    shorter. Labels are left out: what follows each token is what is asked for. Items that are no
    text stay as they are.

    Args:
        rows: the texts.
        length: tokens in a window.
        tokenizer: the folder of ``tokenizer.json``.
        inputs: gives the model's inputs; asked once, when the first window is.
        reference: the data as the user wrote it.
    """

    def __init__(
        self,
        rows: Rows,
        length: int,
        tokenizer: Path,
        inputs: Callable[[], tuple[TensorSpec, ...]],
        reference: str,
    ) -> None:
        self._rows = rows
        self._length = length
        self._folder = tokenizer
        self._inputs = inputs
        self._reference = reference

    @cached_property
    def _encode(self) -> Callable[[str], list[int]]:
        tokenizer = open_tokenizer(self._folder)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Any]:
        names = [spec.name for spec in self._inputs()]
        waiting: list[int] = []
        for index, raw in enumerate(self._rows):
            for run in row_of(raw, names, f"{self._reference}, text {index}").runs:
                if isinstance(run, Text):
                    waiting += self._encode(f"{run.first}\n")
                    waiting += self._encode(f"{run.second}\n") if run.second else []
                else:
                    yield run
            while len(waiting) >= self._length:
                yield self._window(waiting[: self._length], names)
                del waiting[: self._length]
        if len(waiting) >= FEWEST:
            yield self._window(waiting, names)

    def _window(self, ids: list[int], names: list[str]) -> dict[str, Any]:
        tokens = np.array([ids], np.int64)
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        given["token_type_ids"] = np.zeros_like(tokens)
        return {name: array for name, array in given.items() if name in names}
