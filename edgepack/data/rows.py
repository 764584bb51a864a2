"""Items of data as users write them, brought into one form; nothing is checked against a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgepack.errors import UsageError, did_you_mean

LABELS = ("label", "labels", "y", "score")
"""Names under which a label may stand, unless the model has an input of that name."""
RUNS = "runs"
"""Where the runs of a sample stand, in order, unless the model has an input of that name."""
TEXTS = ("text", "text_pair", "texts", "text_1", "text_2")
"""Names under which text may stand."""


@dataclass(frozen=True)
class Text:
    """What one run is to read; a second text is tokenised jointly with the first."""

    first: str
    second: str | None = None


@dataclass(frozen=True)
class Row:
    """One item: what each run is fed (`Text`, a mapping, a tuple or an array), and the label."""

    runs: tuple[Any, ...]
    label: Any = None


def row_of(raw: Any, names: Collection[str], where: str) -> Row:
    """Read an item; `names` are the model's inputs, which no word of ours may hide.

    An item is a text, an array, a mapping of text or arrays that may hold a label, a mapping with
    `runs`, a pair ``(inputs, label)`` whose inputs may be a tuple in the model's order, or a
    `types.Sample`.

    Raises:
        UsageError: E275 for a tuple that is no pair, E283 for text that is not, E297 for runs that
            are none.
    """
    if isinstance(raw, str):
        return Row((Text(raw),))
    if hasattr(raw, "inputs") and hasattr(raw, "label"):
        runs = raw.inputs if isinstance(raw.inputs, tuple) else (raw.inputs,)
        return Row(runs, _plain(raw.label))
    if isinstance(raw, tuple):
        return _pair(raw, names, where)
    if not isinstance(raw, Mapping):
        return Row((raw,))
    found = [key for key in LABELS if key in raw and key not in names]
    label = _plain(raw[found[0]]) if found else None
    rest = {key: value for key, value in raw.items() if key not in found}
    if RUNS in rest and RUNS not in names:
        return Row(_runs(rest, where), label)
    if any(key in TEXTS and key not in names for key in rest):
        return Row(texts_of(rest, where), label)
    return Row((rest,), label)


def texts_of(record: Mapping[str, Any], where: str) -> tuple[Text, ...]:
    """Read the text of a record: one run for ``text``, two for ``texts``; other keys are not read.

    Raises:
        UsageError: E283 when there is none, or what is there is no text.
    """
    if "text" in record:
        pair = record.get("text_pair")
        return (Text(_text(record["text"], where), None if pair is None else _text(pair, where)),)
    apart = record.get("texts", [record[k] for k in ("text_1", "text_2") if k in record])
    if isinstance(apart, list | tuple) and len(apart) == 2:
        return tuple(Text(_text(part, where)) for part in apart)
    raise UsageError(
        "E283",
        "`texts` is not a list of two" if "texts" in record else "there is no `text`",
        where=where,
        why=f"found {', '.join(map(str, record)) or 'nothing'}",
        fix="give `text`, `text` and `text_pair`, or two texts that are encoded apart",
    )


def _runs(record: Mapping[str, Any], where: str) -> tuple[Any, ...]:
    """Read the runs of a sample, each a text, a mapping, a tuple or an array."""
    runs = record[RUNS]
    listed = isinstance(runs, Iterable) and not isinstance(runs, str | bytes | Mapping)
    found = tuple(Text(run) if isinstance(run, str) else run for run in runs) if listed else ()
    if found and len(record) == 1:
        return found
    strange = [str(key) for key in record if key != RUNS]
    raise UsageError(
        "E297",
        "the runs of a sample cannot be read",
        where=where,
        why=f"`{strange[0]}` stands beside them" if strange else "there are none",
        fix='give `{"runs": [first, second, ...], "label": ...}`, each run by input name',
    )


def _pair(raw: tuple[Any, ...], names: Collection[str], where: str) -> Row:
    if len(raw) != 2:
        raise UsageError(
            "E275",
            f"an item is a tuple of {len(raw)}",
            where=where,
            fix="give `(inputs, label)`; the inputs of a model that has several are a tuple too",
        )
    inputs, label = raw
    inner = Row((inputs,)) if isinstance(inputs, tuple) else row_of(inputs, names, where)
    return Row(inner.runs, _plain(label))


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    raise UsageError(
        "E283", f"a text is of type {type(value).__name__}", where=where, fix="give a string"
    )


def _plain(label: Any) -> Any:
    """Take a label out of its array, where it is a single number."""
    if getattr(label, "shape", None) in {(), (1,)}:
        label = label.item()
    return int(label) if isinstance(label, bool) else label


def class_ids(labels: Iterable[Any], known: Mapping[str, int], where: str) -> dict[str, int]:
    """Number the classes: as the model's configuration does, else in the order of their names.

    Args:
        labels: every label of the data.
        known: the configuration's `label2id`; generic names (``LABEL_0``) tell nothing.
        where: the data's reference, for messages.

    Raises:
        UsageError: E286 when names and numbers are mixed, or a name is not the model's.
    """
    names = set()
    for label in labels:
        if not isinstance(label, str):
            raise UsageError(
                "E286",
                "some labels are names and some are not",
                where=where,
                why=f"found {label!r} among names",
                fix="write all labels as names, or all as numbers",
            )
        names.add(label)
    if all(name.upper().startswith("LABEL_") for name in known) and not names <= set(known):
        return {name: index for index, name in enumerate(sorted(names))}
    if strange := sorted(names - set(known)):
        raise UsageError(
            "E286",
            f"the model knows no class named `{strange[0]}`",
            where=where,
            fix=did_you_mean(strange[0], known),
        )
    return {name: known[name] for name in names}
