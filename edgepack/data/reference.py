"""Opens what a recipe names under `[data]`; light until the samples are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edgepack.data.arrays import NpyFolder, NpyRows, NpzRows
from edgepack.data.audio import AudioRows
from edgepack.data.feeds import Feeds
from edgepack.data.fit import fit
from edgepack.data.folder import Folder
from edgepack.data.function import FunctionRows, UserFunction
from edgepack.data.identity import identity
from edgepack.data.pictures import PictureRows
from edgepack.data.rows import RUNS, TEXTS, Text, class_ids, row_of, texts_of
from edgepack.data.text import TextRows
from edgepack.data.tokens import Encoder, settings, tokenizer_digest
from edgepack.data.windows import WindowRows
from edgepack.errors import UsageError, did_you_mean
from edgepack.spec.recipe import DataTable
from edgepack.types import Frozen, Sample, Samples, TensorSpec, digest_of, file_digest

if TYPE_CHECKING:
    from edgepack.types import Tensors

    Specs = Callable[[], tuple[TensorSpec, ...]]

FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
TEXT = (".jsonl", ".csv", ".txt")
FILES = (".npz", ".npy", *TEXT)
_KINDS = "a .npz, .npy, .jsonl, .csv or .txt file, a folder of pictures, .wav or .npy files"


class Rows(Protocol):
    """Items as they were written, counted and read as often as needed."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


def open_data(
    reference: str,
    folder: Path,
    *,
    inputs: Specs,
    tokenizer: Path | None = None,
    state: Mapping[str, str] | None = None,
    table: DataTable | None = None,
    classes: bool = True,
) -> Samples:
    """Return the samples that a reference stands for; nothing is loaded and no code runs yet.

    Args:
        reference: a file, a folder, or ``data.py:function``.
        folder: where the recipe lies.
        inputs: gives the model's inputs, asked when the first sample is.
        tokenizer: the folder of ``tokenizer.json``, for text.
        state: input -> output: what a run takes from the run before it; zeros at first.
        table: the recipe's `[data]`, which says how files become samples.
        classes: a label that is text names a class, and becomes its number; else it stays text,
            which a user's own metric may compare with.

    Raises:
        UsageError: E270 no such file, E271 no such kind, E272 or E273 wrong Python, E284 text
            without a tokenizer, E290 a folder that cannot be read. Iterating raises E269 for
            data that changes, and E274 to E297 for what is wrong in it.
    """
    match = FUNCTION.fullmatch(reference)
    path = folder / (match["file"] if match else reference)
    _check(reference, path, function=match is not None)
    table = table or DataTable()
    feeds = Feeds(inputs, dict(state or {}), dict(table.constants), reference)
    if match:
        user = UserFunction(path, match["name"], reference)
        rows: Rows = FunctionRows(user)
        return _texts(reference, lambda: user.digest, rows, feeds, tokenizer, classes, table)
    if path.is_dir():
        found = Folder(path, reference)
        settings: Frozen | None = None
        if found.kind == "pictures":
            settings = table.pictures
            rows = PictureRows(found, feeds.free, table.pictures)
        elif found.kind == "sounds":
            settings = table.audio
            rows = AudioRows(found, feeds.free, table.audio)
        else:
            rows = NpyFolder(found)
        return Dataset(
            reference, lambda: digest_of(found.digest, settings), rows, feeds, tokenizer, classes
        )
    if path.suffix in TEXT:
        if not _has_tokenizer(tokenizer):
            raise _no_tokenizer(reference)
        rows = TextRows(path, reference)
        return _texts(reference, lambda: file_digest(path), rows, feeds, tokenizer, classes, table)
    rows = (NpzRows if path.suffix == ".npz" else NpyRows)(path, reference)
    return Dataset(reference, lambda: file_digest(path), rows, feeds, tokenizer, classes)


def _texts(
    reference: str,
    digest: Callable[[], str],
    rows: Rows,
    feeds: Feeds,
    tokenizer: Path | None,
    classes: bool,
    table: DataTable,
) -> Samples:
    """Return texts as they are, or as windows of tokens where the recipe says so."""
    window = table.text.window
    if window is None or tokenizer is None:
        return Dataset(reference, digest, rows, feeds, tokenizer, classes)
    cut = WindowRows(rows, window, tokenizer, lambda: feeds.specs, reference)
    return Dataset(reference, lambda: digest_of(digest(), window), cut, feeds, tokenizer, classes)


def _check(reference: str, path: Path, *, function: bool) -> None:
    """Refuse what is not there, and what is of no kind that is read."""
    if path.is_dir() and not function:
        return
    known = function or path.suffix in FILES
    if not known and (path.suffix or path.is_file()):
        code = path.suffix == ".py" or ".py:" in reference
        raise UsageError(
            "E271",
            f"`{reference}` is no data that can be read",
            where=reference,
            fix="name a function, as in `data.py:evaluation`"
            if code
            else f"give {_KINDS} that is there, or a function as `data.py:function`",
        )
    if not path.is_file():
        alike = path.parent.glob(f"*{path.suffix}")
        beside = {p.name for p in alike if p.is_dir() is not bool(path.suffix)}
        raise UsageError(
            "E270",
            f"there is no {'file' if path.suffix else 'folder'} {path.name}",
            where=reference,
            fix=did_you_mean(path.name, beside) if beside else "put it beside the recipe",
        )


@runtime_checkable
class Labelled(Protocol):
    """Rows whose labels are known without reading them."""

    def labels(self) -> Iterator[Any]:
        """Yield the label of each row."""


class Dataset:
    """Samples that are read, tokenised and held against the model's inputs one by one.

    Attributes:
        numbered: classes that have their numbers by the order of their names, once they were read.
    """

    generated = False

    def __init__(
        self,
        reference: str,
        digest: Callable[[], str],
        rows: Rows,
        feeds: Feeds,
        tokenizer: Path | None,
        classes: bool = True,
    ) -> None:
        self._reference = reference
        self._names_classes = classes
        self._digest = digest
        self._rows = rows
        self._feeds = feeds
        self._tokenizer = tokenizer
        self._classes: dict[str, int] | None = None
        self._count: int | None = None
        self._first = b""
        self.numbered: Mapping[str, int] = {}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the data's files or code, how they are read, and the tokenizer's files."""
        return digest_of(
            self._reference,
            self._digest(),
            tokenizer_digest(self._tokenizer),
            self._feeds.state,
            self._feeds.constants,
            self._names_classes,
        )

    @cached_property
    def _specs(self) -> tuple[TensorSpec, ...]:
        return self._feeds.specs

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
            if isinstance(self._rows, TextRows) and raw.keys().isdisjoint({*TEXTS, RUNS, *names}):
                texts_of(raw, where)
            row = row_of(raw, names, where)
            label = row.label
            if self._names_classes and (_named(label) or self._classes):
                many = isinstance(label, list | tuple)
                label = [self._class(n) for n in label] if many else self._class(label)
            runs = tuple(self._run(run, where) for run in row.runs)
            sample = Sample(runs, label, self._feeds.state)
            if index == 0:
                self._repeats(sample, where)
            yield sample
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

    def _repeats(self, sample: Sample, where: str) -> None:
        """Refuse a first sample that is another than the one of the pass before."""
        found = identity(sample)
        if self._first and found != self._first:
            raise UsageError(
                "E269",
                "the data changes from one reading to the next",
                where=where,
                why="models are compared on the same samples, read several times",
                fix="seed the generator: `np.random.default_rng(0)` within the function",
            )
        self._first = found

    def _run(self, run: Any, where: str) -> Tensors:
        given = self._encoder.encode(run) if isinstance(run, Text) else run
        return fit(given, self._specs, where, self._feeds.usual)

    def _class(self, label: Any) -> int:
        """Number a class; the first name met sets off one reading of all labels."""
        if self._classes is None:
            names = [spec.name for spec in self._specs]
            rows = self._rows
            written = (
                rows.labels()
                if isinstance(rows, Labelled)
                else (row_of(raw, names, self._reference).label for raw in rows)
            )
            labels = (n for some in written for n in (some if _named(some) == "many" else [some]))
            config = settings(self._tokenizer, "config.json") if self._tokenizer else {}
            known = config.get("label2id") or {}
            self._classes = class_ids(labels, known, self._reference)
            self.numbered = {} if self._classes.keys() <= known.keys() else self._classes
        return self._classes[label]


def _named(label: Any) -> str:
    """Say whether a label is the name of a class, or of a class for each run."""
    if isinstance(label, list | tuple) and label and isinstance(label[0], str):
        return "many"
    return "one" if isinstance(label, str) else ""


def _has_tokenizer(folder: Path | None) -> bool:
    return folder is not None and (folder / "tokenizer.json").is_file()


def _no_tokenizer(reference: str) -> UsageError:
    return UsageError(
        "E284",
        "the data is text and the model has no tokenizer",
        where=reference,
        fix="save tokenizer.json beside the model, or give token ids as arrays",
    )
