"""The layers of a module that multiply by a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from edgepack.compress.names import fits, require_names
from edgepack.model.matrices import CONVOLUTIONS, is_matrix


@dataclass(frozen=True)
class Found:
    """Layers of a module by name, and what holds weights but is left alone, with the reason."""

    layers: Mapping[str, nn.Module]
    spared: dict[str, str]


def find(
    module: nn.Module, keep: Sequence[str] = (), *, embeddings: bool = False, whole: bool = False
) -> Found:
    """Return the linear layers and convolutions of a module, in their order.

    Args:
        module: the module.
        keep: patterns of names to spare.
        embeddings: take embeddings as well.
        whole: the layers are to be replaced: spare all that share their weights, not only those
            after the first, and those whose weights the module around them reads itself.

    Raises:
        UsageError: E263 when a name under `keep` fits no layer.
    """
    every = [(name, layer) for name, layer in module.named_modules() if name]
    require_names(keep, [name for name, _ in every], "keep")
    readers = (nn.MultiheadAttention, nn.TransformerEncoderLayer)[: 2 if whole else 1]
    inside = {
        id(part) for _, layer in every if isinstance(layer, readers) for part in layer.modules()
    }
    owners: dict[int, str] = {}
    for name, layer in module.named_modules():
        if isinstance(weight := getattr(layer, "weight", None), nn.Parameter):
            taken = embeddings or not isinstance(layer, nn.Embedding)
            first = owners.setdefault(id(weight), name)
            if first == name and not taken:
                owners[id(weight)] = f"the embedding {name}"
    shared = _shared(module)
    layers: dict[str, nn.Module] = {}
    spared: dict[str, str] = {}
    for name, layer in module.named_modules():
        if reason := _unfit(layer, inside):
            spared[name] = reason
        elif not (is_matrix(layer) or (embeddings and isinstance(layer, nn.Embedding))):
            continue
        elif fits(name, keep):
            spared[name] = "named under `keep`"
        elif (owner := owners.get(id(layer.weight), name)) != name:
            spared[name] = f"it shares the weights of {owner}"
        elif whole and id(layer.weight) in shared:
            spared[name] = "another layer shares its weights"
        else:
            layers[name] = layer
    return Found(layers, spared)


def _unfit(layer: nn.Module, inside: set[int]) -> str:
    """Say why a layer that holds matrices cannot be taken; nothing for all others."""
    if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        return "its matrices are recurrent: an error comes back at each step"
    if isinstance(layer, nn.MultiheadAttention):
        return "it keeps several matrices in one"
    if id(layer) in inside and isinstance(layer, nn.Linear):
        return "the module around it reads its weights itself"
    if isinstance(layer, nn.modules.conv._ConvNd) and not isinstance(layer, CONVOLUTIONS):
        return f"{type(layer).__name__} is not supported"
    return ""


def _shared(module: nn.Module) -> set[int]:
    seen: set[int] = set()
    twice: set[int] = set()
    for layer in module.modules():
        for parameter in layer._parameters.values():
            (twice if id(parameter) in seen else seen).add(id(parameter))
    return twice
