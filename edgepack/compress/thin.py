"""Decides ranks, and replaces layers by thin pairs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.compress.activations import Inputs, collect
from edgepack.compress.allot import by_budget, by_energy, saving
from edgepack.compress.batches import Batches
from edgepack.compress.layers import find
from edgepack.compress.low_rank import LowRank, Ranks, ThinLayer
from edgepack.compress.shown import shown
from edgepack.errors import ModelError
from edgepack.model.blocks.low_rank import set_factors
from edgepack.model.edits import replay
from edgepack.model.factors import Spectrum, factors, spectrum
from edgepack.model.matrices import matrix
from edgepack.model.run import repeatable
from edgepack.types import Replace, Split

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

LOST = 0.3
"""Relative error of a layer's outputs from which accuracy is unlikely to hold by itself."""


def thin(model: Model, options: LowRank, context: Context) -> Model:
    """Return a model with thin pairs in the place of layers; the decision is told.

    Raises:
        UsageError: E227 without data that the method needs, E263 when a name under `keep` fits no
            layer, E264 to E266 when the data does not fit the model.
        ModelError: E433 when the model does not run with pairs, E464 when no layer would become
            smaller, E465 when what a layer is fed is not finite, E466 when the budget is too small.
    """
    found = find(model.module, options.keep, whole=True)
    spared = dict(found.spared)
    layers = {}
    for name, layer in found.layers.items():
        if getattr(layer, "groups", 1) > 1:
            spared[name] = "its channels form groups, and each has a matrix of its own"
        else:
            layers[name] = layer
    with repeatable(context.seed):
        seen = _inputs(model, layers, options, context)
        if options.method != "svd":
            spared |= {name: "no sample reaches it" for name in layers if name not in seen}
            layers = {name: layer for name, layer in layers.items() if name in seen}
        method = import_module(f"edgepack.compress.ranks.{options.method}")
        spectra = {
            name: spectrum(matrix(layer)[0], method.moment(seen.get(name)))
            for name, layer in layers.items()
        }
        ranks = _ranks(model, layers, spectra, options)
        for name, rank in list(ranks.items()):
            if rank > (most := saving(layers[name])):
                spared[name] = f"rank {rank} would not save: it must be at most {most}"
                del ranks[name]
        if not ranks:
            raise _nothing(spared)
        pairs = {name: _factors(layers[name], spectra[name], rank) for name, rank in ranks.items()}
        decision = Ranks(
            layers={
                name: _told(layers[name], *pairs[name], seen.get(name), options) for name in ranks
            },
            spared=spared,
        )
    context.events.decision(decision)
    _tell(decision, seen, context)
    edits = [Replace(module=name, by="low-rank", rank=rank) for name, rank in ranks.items()]
    ours = replay(model, edits)
    for name, pair in pairs.items():
        set_factors(ours.module.get_submodule(name), *pair)
    return ours


def _inputs(
    model: Model, layers: Mapping[str, nn.Module], options: LowRank, context: Context
) -> dict[str, Inputs]:
    """Return what layers are fed; plain decomposition is only judged by it, where data is there."""
    splits: tuple[Split, ...] = ("calibration", "train")
    if options.method == "svd" and not any(split in context.data for split in splits):
        return {}
    samples = shown(context, splits, options.method)
    data = Batches.of(model, samples, labelled=False, most=options.samples)
    return collect(model.module, layers, data)


def _ranks(
    model: Model,
    layers: Mapping[str, nn.Module],
    spectra: Mapping[str, Spectrum],
    options: LowRank,
) -> dict[str, int]:
    """Return the rank that the options give each layer, whether or not it saves."""
    shapes = {name: tuple(matrix(layer)[0].shape) for name, layer in layers.items()}
    if options.rank:
        return dict.fromkeys(layers, options.rank)
    if options.ratio:
        return {n: max(1, int(options.ratio * a * b / (a + b))) for n, (a, b) in shapes.items()}
    energies = {name: one.energies for name, one in spectra.items()}
    if options.energy:
        return {name: by_energy(one, options.energy) for name, one in energies.items()}
    others = sum(p.numel() for p in model.module.parameters())
    others -= sum(a * b for a, b in shapes.values())
    return by_budget(shapes, energies, options.params - others, options.params)


def _factors(layer: nn.Module, one: Spectrum, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    return factors(matrix(layer)[0], one.directions, rank)


def _told(
    layer: nn.Module,
    outer: torch.Tensor,
    inner: torch.Tensor,
    inputs: Inputs | None,
    options: LowRank,
) -> ThinLayer:
    weights = matrix(layer)[0]
    rank = len(inner)
    error = plain = None
    if inputs is not None:
        error = plain = relative_error(weights, outer @ inner, inputs)
        if options.method != "svd":
            pair = factors(weights, spectrum(weights).directions, rank)
            plain = relative_error(weights, pair[0] @ pair[1], inputs)
    return ThinLayer(
        rank=rank,
        before=weights.numel(),
        after=outer.numel() + inner.numel(),
        error=error,
        error_svd=plain,
    )


def relative_error(weights: torch.Tensor, others: torch.Tensor, inputs: Inputs) -> float:
    """Return the length of how far outputs move, over the length of the outputs, bias aside."""
    weights, others = weights.double(), others.double()
    moment = inputs.moment[0]
    lost = ((weights - others) @ moment * (weights - others)).sum()
    given = (weights @ moment * weights).sum()
    return float((lost.clamp(min=0) / given.clamp(min=torch.finfo(given.dtype).tiny)).sqrt())


def _tell(decision: Ranks, seen: Mapping[str, Inputs], context: Context) -> None:
    starved = sum(
        seen[name].rows < len(seen[name].moment[0]) for name in decision.layers if name in seen
    )
    if starved:
        context.events.note(
            f"{starved} of {len(decision.layers)} layers were fed fewer rows than they have "
            "inputs: more calibration samples would choose better"
        )
    errors = [one.error for one in decision.layers.values() if one.error is not None]
    if bad := sum(error > LOST for error in errors):
        context.events.note(
            f"{bad} of {len(errors)} thin layers lose more than {100 * LOST:.0f} % of their "
            "outputs: keep more, spare them, or let `finetune` follow"
        )


def _nothing(spared: Mapping[str, str]) -> ModelError:
    return ModelError(
        "E464",
        "no layer would become smaller as a pair of thin ones",
        why="; ".join(f"{name}: {reason}" for name, reason in list(spared.items())[:3])
        or "no convolution or linear layer was found",
        fix="ask for less rank, ratio or energy, spare fewer layers, or leave out `low-rank`",
    )
