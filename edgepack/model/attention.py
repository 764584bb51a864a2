"""Finds the blocks and the attention of transformers, whatever their class is called.

Attention is a module with three linear layers for queries, keys and values, or one that gives all
of them (GPT-2, ModernBERT), and a linear layer behind it that joins what its heads give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgepack.model.matrices import is_transposed

TRIPLES = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("query_proj", "key_proj", "value_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("q", "k", "v"),
)
FUSED = ("c_attn", "Wqkv")
JOINING = ("o_proj", "out_proj", "out_lin", "c_proj", "o", "dense", "Wo")


@dataclass(frozen=True)
class Attention:
    """One attention module.

    Attributes:
        name: the module's.
        queries, keys, values: names of its linear layers; one name three times where they are one.
        joining: the name of the linear layer that joins the heads.
        width: of one head.
        heads: that ask.
        groups: keys and values that there are, each read by ``heads / groups`` heads.
    """

    name: str
    queries: str
    keys: str
    values: str
    joining: str
    width: int
    heads: int
    groups: int

    @property
    def fused(self) -> bool:
        """Whether one layer gives queries, keys and values."""
        return self.queries == self.keys


def blocks_of(module: nn.Module) -> str:
    """Return the name of the list of a model's blocks; nothing where there is none."""
    return next(iter(stacks_of(module)), "")


def stacks_of(module: nn.Module) -> tuple[str, ...]:
    """Return the names of lists of two layers or more of one class, what is most a stack first.

    Layers with attention come before others, such as experts within a block; then the longest.
    """
    lists = {
        name: (bool(attentions_of(layers[0])), len(layers))
        for name, layers in module.named_modules()
        if isinstance(layers, nn.ModuleList)
        and len(layers) > 1
        and len({type(layer) for layer in layers}) == 1
    }
    return tuple(sorted(lists, key=lambda name: lists[name], reverse=True))


def entering(args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    """Return what flows into a block that is called so: the first tensor."""
    return next(one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor))


def attentions_of(module: nn.Module) -> tuple[Attention, ...]:
    """Return all attention modules, in their order; a shared one is named once."""
    found = (_attention(module, name, part) for name, part in module.named_modules())
    return tuple(attention for attention in found if attention is not None)


def _attention(root: nn.Module, name: str, part: nn.Module) -> Attention | None:
    children = dict(part.named_children())
    names = next((t for t in TRIPLES if all(_linear(children.get(key)) for key in t)), None)
    if names is None:
        fused = next((key for key in FUSED if _linear(children.get(key))), None)
        if fused is None:
            return None
        names = (fused,) * 3
    joining = _joining(root, name, children)
    query, key = children[names[0]], children[names[1]]
    width = _width(part)
    if not joining or not width:
        return None
    share = 3 if names[0] == names[1] else 1
    asked, read = outputs(query) // share, outputs(key) // share
    # Attention whose keys are fewer than its queries, all in one layer, has another order of rows.
    if asked != inputs(root.get_submodule(joining)):
        return None
    if asked % width or read % width or (asked // width) % (read // width):
        return None
    queries, keys, values = (f"{name}.{key}" if name else key for key in names)
    return Attention(name, queries, keys, values, joining, width, asked // width, read // width)


def _joining(root: nn.Module, name: str, children: dict[str, nn.Module]) -> str:
    """Return the layer that joins the heads: inside, or beside as in BERT."""
    for key in JOINING:
        if _linear(children.get(key)):
            return f"{name}.{key}" if name else key
    above = name.rpartition(".")[0]
    beside = f"{above}.output.dense" if above else "output.dense"
    try:
        return beside if _linear(root.get_submodule(beside)) else ""
    except AttributeError:
        return ""


def _width(part: nn.Module) -> int:
    """Return the width of one head, from the module or its configuration."""
    for key in ("head_dim", "attention_head_size", "attention_head_dim"):
        if isinstance(value := getattr(part, key, None), int):
            return value
    config = getattr(part, "config", None)
    heads = getattr(config, "num_attention_heads", 0)
    return getattr(config, "hidden_size", 0) // heads if heads else 0


def _linear(layer: nn.Module | None) -> bool:
    return layer is not None and (isinstance(layer, nn.Linear) or is_transposed(layer))


def inputs(layer: nn.Module) -> int:
    """Return how many inputs a linear layer has."""
    return int(layer.weight.shape[0 if is_transposed(layer) else 1])


def outputs(layer: nn.Module) -> int:
    """Return how many outputs a linear layer has."""
    found: int = layer.nf if is_transposed(layer) else layer.out_features
    return found
