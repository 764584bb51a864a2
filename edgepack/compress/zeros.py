"""Puts zeros among a model's weights."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from importlib import import_module
from itertools import chain, groupby
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.compress.activations import collect
from edgepack.compress.batches import Batches
from edgepack.compress.layers import Found, find
from edgepack.compress.shown import shown
from edgepack.compress.sparsity.choice import (
    least,
    least_of_all,
    least_of_runs,
    least_of_words,
)
from edgepack.compress.weights import PruneWeights, ThinnedLayer, Thinning
from edgepack.errors import ModelError
from edgepack.model.matrices import fill, matrix
from edgepack.model.run import repeatable

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

BY_LAYER = {"wanda", "sparsegpt"}
ROUNDS = 8
"""Most times that all samples run: layers that follow each other share a round."""
SPARSE = 0.1
"""Share of zeros from which a model came in sparse."""


def thin(model: Model, options: PruneWeights, context: Context) -> Model:
    """Return a copy with zeros among its weights; the decision is told.

    Raises:
        UsageError: E227 without data that the method needs, E263 when a name under `keep` fits no
            layer, E264 to E266 when the data does not fit the model.
        ModelError: E434 when training diverges, E463 when no layer is left, E465 when what a layer
            is fed is not finite.
    """
    ours = model.copy()
    found = find(ours.module, options.keep, embeddings=options.embeddings)
    if not found.layers:
        raise _nothing(found.spared)
    before = {name: _share(layer.weight) for name, layer in found.layers.items()}
    with repeatable(context.seed):
        if options.method in BY_LAYER:
            _thin_in_rounds(ours, found, options, context)
        else:
            _thin_at_once(ours, found.layers, options, context)
    for parameter in ours.module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    decision = Thinning(
        layers={
            name: ThinnedLayer(
                weights=layer.weight.numel(), before=before[name], after=_share(layer.weight)
            )
            for name, layer in found.layers.items()
            if name not in found.spared
        },
        spared=found.spared,
        before=_overall(before, found),
        after=_overall({n: _share(layer.weight) for n, layer in found.layers.items()}, found),
        of_model=_share(*ours.module.parameters()),
        compressed_before=_compressed(model.module),
        compressed_after=_compressed(ours.module),
    )
    context.events.decision(decision)
    _tell(decision, context)
    return ours


def _thin_at_once(
    model: Model, layers: Mapping[str, nn.Module], options: PruneWeights, context: Context
) -> None:
    """Zero what has the least scores, scores being taken over the whole model."""
    method = import_module(f"edgepack.compress.sparsity.{options.method}")
    scores: dict[str, torch.Tensor] = method.scores(model, layers, options, context)
    if options.pattern:
        marks = {name: least_of_runs(one, *options.run) for name, one in scores.items()}
    elif options.scope == "global":
        marks = least_of_all(scores, options.ratio)
    else:
        marks = {name: _least(layers[name], one, options.ratio) for name, one in scores.items()}
    for name, layer in layers.items():
        fill(layer, matrix(layer).masked_fill(marks[name], 0))


def _least(layer: nn.Module, scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Mark a layer's least weights; those of an embedding compete within their word."""
    if isinstance(layer, nn.Embedding):
        return least_of_words(scores, matrix(layer).abs(), ratio)
    return least(scores, ratio)


def _thin_in_rounds(model: Model, found: Found, options: PruneWeights, context: Context) -> None:
    """Prune layer by layer: each is shown what the layers before it give once they are pruned."""
    method = import_module(f"edgepack.compress.sparsity.{options.method}")
    samples = shown(context, ("calibration", "train"), options.method)
    data = Batches.of(model, samples, labelled=False, most=options.samples)
    starved = 0
    rounds = _rounds(list(found.layers))
    for turn, names in enumerate(rounds):
        context.events.progress("prune-weights", turn, len(rounds))
        layers = {name: found.layers[name] for name in names}
        seen = collect(model.module, layers, data)
        for name, layer in layers.items():
            if name not in seen:
                found.spared[name] = "no sample reaches it"
                continue
            starved += seen[name].rows < seen[name].norms.shape[-1]
            fill(layer, method.pruned(matrix(layer), seen[name], options))
    context.events.progress("prune-weights", len(rounds), len(rounds))
    if len(found.spared.keys() & found.layers.keys()) == len(found.layers):
        raise _nothing(found.spared)
    if starved:
        context.events.note(
            f"{starved} of {len(found.layers)} layers were fed fewer rows than they have inputs: "
            "more calibration samples would choose better"
        )


def _rounds(names: list[str]) -> list[list[str]]:
    """Split layers into runs of whole blocks: those of one number in a list of layers."""
    blocks = [list(run) for _, run in groupby(names, lambda name: _block(name))]
    size = -(-len(blocks) // ROUNDS)
    shares = (blocks[at : at + size] for at in range(0, len(blocks), size))
    return [list(chain.from_iterable(share)) for share in shares]


def _block(name: str) -> str:
    """Return a layer's name up to its first number, or all of it."""
    found = re.match(r"(?:.*?\.)?\d+(?=\.|$)", name)
    return found[0] if found else name


def _share(*weights: torch.Tensor) -> float:
    total: int = sum(weight.numel() for weight in weights)
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / max(1, total)


def _overall(shares: Mapping[str, float], found: Found) -> float:
    sizes = {n: layer.weight.numel() for n, layer in found.layers.items() if n not in found.spared}
    zeros: float = sum(shares[name] * size for name, size in sizes.items())
    total: int = sum(sizes.values())
    return zeros / total


def _compressed(module: nn.Module) -> int:
    """Return the bytes of all parameters behind zlib, as an archive would hold them."""
    return sum(
        len(zlib.compress(parameter.detach().float().contiguous().numpy().tobytes(), 6))
        for parameter in module.parameters()
    )


def _tell(decision: Thinning, context: Context) -> None:
    """Say what the zeros are good for, and what they are not."""
    gain = 100 * (1 - decision.compressed_after / max(1, decision.compressed_before))
    context.events.note(
        f"{100 * decision.of_model:.1f} % of the parameters are zero; latency and the file stay as "
        "they are, for ONNX Runtime multiplies by zeros like by other numbers; behind zlib the "
        f"parameters shrink from {decision.compressed_before / 1e6:.2f} to "
        f"{decision.compressed_after / 1e6:.2f} MB ({gain:.0f} % less)"
    )
    if decision.before >= SPARSE:
        context.events.note(
            f"{100 * decision.before:.0f} % of these weights were zero before: the model came in "
            "sparse" + ("" if decision.after > decision.before else ", and nothing was gained")
        )


def _nothing(spared: Mapping[str, str]) -> ModelError:
    return ModelError(
        "E463",
        "there is no layer whose weights could be pruned",
        why="; ".join(f"{name}: {reason}" for name, reason in list(spared.items())[:3])
        or "no convolution or linear layer was found",
        fix="spare fewer layers, or leave out `prune-weights`",
    )
