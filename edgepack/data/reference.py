"""Opens what a recipe names under `[data]`; light until the samples are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgepack.data.arrays import NpzRows
from edgepack.data.fit import fit
from edgepack.data.function import FunctionRows, UserFunction
from edgepack.data.rows import Text, class_ids, row_of
from edgepack.data.text import TextRows
from edgepack.data.tokens import Encoder, settings, tokenizer_digest
from edgepack.errors import UsageError, did_you_mean
from edgepack.types import Sample, Samples, TensorSpec, digest_of, file_digest

if TYPE_CHECKING:
    from edgepack.types import Tensors

    Specs = Callable[[], tuple[TensorSpec, ...]]

FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
TEXT = (".jsonl", ".csv")


class Rows(Protocol):
    """Items as they were written, counted and read as often as needed."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


def open_data(
    reference: str, folder: Path, *, inputs: Specs, tokenizer: Path | None = None
) -> Samples:
    """Return the samples that a reference stands for; nothing is loaded and no code runs yet.

    Args:
        reference: ``x.npz``, ``x.jsonl``, ``x.csv`` or ``data.py:function``.
        folder: where the recipe lies.
        inputs: gives the model's inputs, asked when the first sample is.
        tokenizer: the folder of ``tokenizer.json``, for text.

    Raises:
        UsageError: E270 no such file, E271 no such kind, E272 or E273 wrong Python, E284 text
            without a tokenizer. Iterating raises E274 to E289 for what is wrong in the data.
    """
    match = FUNCTION.fullmatch(reference)
    path = folder / (match["file"] if match else reference)
    if not match and path.suffix not in {".npz", *TEXT}:
        function = path.suffix == ".py" or ".py:" in reference
        raise UsageError(
            "E271",
            f"`{reference}` is no data that can be read",
            where=reference,
            fix="name a function, as in `data.py:evaluation`"
            if function
            else "give a .npz, .jsonl or .csv file, or a function as `data.py:function`",
        )
    if not path.is_file():
        beside = {p.name for p in path.parent.glob(f"*{path.suffix}")}
        raise UsageError(
            "E270",
            f"there is no file {path.name}",
            where=reference,
            fix=did_you_mean(path.name, beside) if beside else "put it beside the recipe",
        )
    if match:
        user = UserFunction(path, match["name"], reference)
        return Dataset(reference, lambda: user.digest, FunctionRows(user), inputs, tokenizer)
    if path.suffix in TEXT:
        if not _has_tokenizer(tokenizer):
            raise _no_tokenizer(reference)
        rows: Rows = TextRows(path, reference)
    else:
        rows = NpzRows(path, reference)
    return Dataset(reference, lambda: file_digest(path), rows, inputs, tokenizer)


class Dataset:
    """Samples that are read, tokenised and held against the model's inputs one by one."""

    generated = False

    def __init__(
        self,
        reference: str,
        digest: Callable[[], str],
        rows: Rows,
        inputs: Specs,
        tokenizer: Path | None,
    ) -> None:
        self._reference = reference
        self._digest = digest
        self._rows = rows
        self._inputs = inputs
        self._tokenizer = tokenizer
        self._classes: dict[str, int] | None = None
        self._count: int | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the data's file or code, and over the tokenizer's files."""
        return digest_of(self._reference, self._digest(), tokenizer_digest(self._tokenizer))

    @cached_property
    def _specs(self) -> tuple[TensorSpec, ...]:
        return self._inputs()

    @cached_property
    def _encoder(self) -> Encoder:
        if self._tokenizer is None or not _has_tokenizer(self._tokenizer):
            raise _no_tokenizer(self._reference)
        return Encoder(self._tokenizer, self._specs)

    def __len__(self) -> int:
        if self._count is None:
            self._count = self._counted(len(self._rows))
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        index = -1
        names = [spec.name for spec in self._specs]
        for index, raw in enumerate(self._rows):
            where = f"{self._reference}, sample {index}"
            row = row_of(raw, names, where)
            label = row.label
            if isinstance(label, str) or self._classes:
                label = self._class(label)
            yield Sample(tuple(self._run(run, where) for run in row.runs), label)
        self._count = self._counted(index + 1)

    def _counted(self, count: int) -> int:
        if count:
            return count
        raise UsageError(
            "E280",
            "the data is empty",
            where=self._reference,
            fix="give at least one sample, or remove the line to go without",
        )

    def _run(self, run: Any, where: str) -> Tensors:
        given = self._encoder.encode(run) if isinstance(run, Text) else run
        return fit(given, self._specs, where)

    def _class(self, label: Any) -> int:
        """Number a class; the first name met sets off one reading of all labels."""
        if self._classes is None:
            names = [spec.name for spec in self._specs]
            labels = (row_of(raw, names, self._reference).label for raw in self._rows)
            config = settings(self._tokenizer, "config.json") if self._tokenizer else {}
            self._classes = class_ids(labels, config.get("label2id") or {}, self._reference)
        return self._classes[label]


def _has_tokenizer(folder: Path | None) -> bool:
    return folder is not None and (folder / "tokenizer.json").is_file()


def _no_tokenizer(reference: str) -> UsageError:
    return UsageError(
        "E284",
        "the data is text and the model has no tokenizer",
        where=reference,
        fix="save tokenizer.json beside the model, or give token ids as arrays",
    )
