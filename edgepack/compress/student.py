"""Derives a student from its teacher: fewer blocks, narrower ones, a narrower table of tokens.

The student begins with the teacher's weights: whole blocks where only their number falls, else the
slices of them that weigh most. Copying layers: Sanh et al., DistilBERT (2019, arXiv 1910.01108).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgepack.compress.matching.layers import spread
from edgepack.compress.slices import fill
from edgepack.errors import ModelError, UsageError
from edgepack.model.attention import attentions_of, blocks_of
from edgepack.model.edits import replay
from edgepack.types import Config, Drop, Replace

if TYPE_CHECKING:
    from edgepack.compress.presets import Shape
    from edgepack.model import Model

INNER = ("intermediate_size", "ffn_dim", "n_inner", "hidden_dim")
LOST = {"cut", "heads", "replace", "tie"}
"""Edits that a configuration knows nothing of."""


@dataclass(frozen=True)
class Derived:
    """A student, the teacher's blocks that it begins with, and whether slices of them only."""

    model: Model
    copied: tuple[int, ...]
    sliced: bool


def derive(teacher: Model, shape: Shape, copy_layers: Sequence[int]) -> Derived:
    """Return an untaught student of a shape.

    Raises:
        ModelError: E475 when no such student can be derived.
        UsageError: E252 when a block is named that there is not.
    """
    blocks = blocks_of(teacher.module)
    count = len(teacher.module.get_submodule(blocks)) if blocks else 0
    if shape.layers > count:
        raise _underivable(f"`layers` is {shape.layers}, and the teacher has {count}")
    copied = tuple(copy_layers) or tuple(spread(count, shape.layers or count) if count else ())
    if copied and not 0 <= min(copied) <= max(copied) < count:
        raise UsageError(
            "E252",
            f"there is no block {max(copied)}",
            where="copy_layers",
            why=f"the teacher has {count}",
            fix=f"name blocks from 0 to {count - 1}",
        )
    student, sliced = teacher, False
    if values := _values(teacher, shape):
        edit = Config(module=_transformer(teacher.module), values=values)
        student = replay(teacher, [edit])
        fill(student.module, teacher.module, blocks, copied)
        sliced = True
    elif len(copied) < count:
        gone = tuple(place for place in range(count) if place not in copied)
        student = replay(teacher, [Drop(module=blocks, indices=gone)])
    if shape.embedding:
        table = _table(student.module, shape.embedding)
        edit_table = Replace(module=table, by="factorised-embedding", rank=shape.embedding)
        student = replay(student, [edit_table])
    if student is teacher:
        raise _underivable("it would have the shape of its teacher")
    return Derived(student, copied, sliced)


def _values(teacher: Model, shape: Shape) -> dict[str, int]:  # noqa: C901
    """Return what the student's configuration says otherwise; nothing where only layers go."""
    try:
        name = _transformer(teacher.module)
    except ModelError:
        if shape.hidden or shape.heads or shape.intermediate:
            raise
        return {}
    config: Any = teacher.module.get_submodule(name).config
    attention = attentions_of(teacher.module)
    hidden, heads = config.hidden_size, config.num_attention_heads
    inner = next((key for key in INNER if getattr(config, key, None)), "")
    wide = {"hidden": hidden, "heads": heads, "intermediate": getattr(config, inner, 0)}
    asked = {key: getattr(shape, key) for key in wide}
    if all(value in (0, wide[key]) for key, value in asked.items()):
        return {}
    for key, value in asked.items():
        if wide[key] and value > wide[key]:
            raise _underivable(f"`{key}` is {value}, and the teacher has {wide[key]}")
    if lost := sorted({edit.kind for edit in teacher.edits} & LOST):
        raise _underivable(
            f"its blocks were changed before ({', '.join(lost)}), and a new configuration would "
            "undo that"
        )
    if any(one.fused for one in attention) and (asked["hidden"] or asked["heads"]):
        raise _underivable("its queries, keys and values are one layer")
    if shape.intermediate and not inner:
        raise _underivable("its configuration does not name an inner width")
    wide |= {key: value for key, value in asked.items() if value}
    if wide["hidden"] % wide["heads"]:
        raise _underivable(f"a width of {wide['hidden']} has no {wide['heads']} equal heads")
    names = getattr(config, "attribute_map", {})
    values = {
        names.get("hidden_size", "hidden_size"): wide["hidden"],
        names.get("num_attention_heads", "num_attention_heads"): wide["heads"],
        names.get("num_hidden_layers", "num_hidden_layers"): shape.layers
        or config.num_hidden_layers,
    }
    if inner:
        values[inner] = wide["intermediate"]
    if groups := getattr(config, "num_key_value_heads", None):
        values["num_key_value_heads"] = max(1, groups * wide["heads"] // heads)
    if getattr(config, "head_dim", None) and (asked["hidden"] or asked["heads"]):
        values["head_dim"] = wide["hidden"] // wide["heads"]
    return values


def _transformer(module: nn.Module) -> str:
    """Return the name of the outermost model of transformers."""
    for name, part in module.named_modules():
        if _is_transformer(part):
            return str(name)
    raise _underivable("it is no model of transformers, so nothing says how to make it narrower")


def _is_transformer(part: nn.Module) -> bool:
    from transformers import PreTrainedModel

    return isinstance(part, PreTrainedModel)


def _table(module: nn.Module, width: int) -> str:
    """Return the name of the table of tokens: what a transformers model names, or the largest."""
    tables = {name: part for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    named = [part.get_input_embeddings() for part in module.modules() if _is_transformer(part)]
    name = next((name for name, part in tables.items() if any(part is one for one in named)), "")
    name = name or max(tables, key=lambda name: tables[name].weight.numel(), default="")
    if not name:
        raise _underivable("it has no table of tokens")
    table = tables[name]
    if width >= table.embedding_dim:
        raise _underivable(
            f"`embedding` is {width}, and the table's width is {table.embedding_dim}"
        )
    if any(
        part is not table and any(p is table.weight for p in part.parameters(recurse=False))
        for part in module.modules()
    ):
        raise _underivable("its last layer shares the table of tokens")
    return name


def parameters(module: torch.nn.Module) -> int:
    """Count a module's parameters."""
    return sum(p.numel() for p in module.parameters())


def _underivable(why: str) -> ModelError:
    return ModelError(
        "E475",
        "no such student can be derived from its teacher",
        why=why,
        fix="ask for fewer layers or smaller widths of a transformers model, or name a factory: "
        'student = "torch:student.py:build"',
    )
