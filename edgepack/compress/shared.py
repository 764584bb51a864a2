"""Shares layers, embeddings and values."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.compress.codebook import clustered
from edgepack.compress.layers import find
from edgepack.compress.names import require_names
from edgepack.compress.share import Share, Sharing
from edgepack.compress.stacks import shared, stacks
from edgepack.errors import ModelError
from edgepack.model.edits import replay
from edgepack.model.matrices import is_transposed
from edgepack.types import Edit, Replace, Tie

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

LOOKED_AT = 1 << 24
"""Bytes of a layer that zlib is tried on; more of it would tell no more."""


def share(model: Model, options: Share, context: Context) -> Model:
    """Return the model with what is asked for shared; raises as `Share.apply`."""
    require_names(options.keep, [name for name, _ in model.module.named_modules() if name], "keep")
    spared: dict[str, str] = {}
    found = stacks(model, options, spared) if options.layers else {}
    made = shared(model, found, options.init) if found else model
    tables = _factorised(made, options, spared) if options.embedding else {}
    if tables:
        made = replay(
            made,
            [
                Replace(module=n, by="factorised-embedding", rank=r)
                for n, (_, _, r) in tables.items()
            ],
        )
    tied = _tied(made, options, spared) if options.tie_embeddings else {}
    if tied:
        made = _with_ties(made, tied, options.init)
    error, zipped, count = 0.0, None, 0
    if options.clusters:
        made, error, zipped, count = _codebooks(made, options, spared)
    if not (found or tables or tied or count):
        raise _nothing(spared)
    decision = Sharing(
        stacks=found,
        embeddings=tables,
        tied=tied,
        clusters=count,
        cluster_error=error,
        zipped=zipped,
        spared=spared,
        before=_count(model),
        after=_count(made),
    )
    context.events.decision(decision)
    _tell(decision, options, context)
    return made


def _factorised(
    model: Model, options: Share, spared: dict[str, str]
) -> dict[str, tuple[int, int, int]]:
    """Return rows, width and rank of the largest table, where it can be factorised and saves."""
    tables = find(model.module, options.keep, embeddings=True, whole=True)
    every = {n: t for n, t in model.module.named_modules() if isinstance(t, nn.Embedding)}
    if not every:
        spared["embedding"] = "the model has no embedding"
        return {}
    name = max(every, key=lambda one: every[one].weight.numel())
    rows, width = every[name].weight.shape
    rank = options.embedding
    if name not in tables.layers:
        spared[name] = tables.spared[name]
    elif rank * (rows + width) >= rows * width:
        most = (rows * width - 1) // (rows + width)
        spared[name] = f"a width of {rank} would not save: it must be at most {most}"
    elif type(every[name]).forward is not nn.Embedding.forward or every[name].max_norm:
        spared[name] = f"{type(every[name]).__name__} does more than look rows up"
    else:
        return {name: (rows, width, rank)}
    return {}


def _tied(model: Model, options: Share, spared: dict[str, str]) -> dict[str, str]:
    """Return output layer -> embedding where the two have matrices of one shape."""
    every = dict(model.module.named_modules())
    tables = {n: t for n, t in every.items() if isinstance(t, nn.Embedding)}
    layers = find(model.module, options.keep).layers
    tied = {}
    for name, table in tables.items():
        for other, layer in layers.items():
            like = isinstance(layer, nn.Linear) and layer.weight.shape == table.weight.shape
            if like and layer.weight is not table.weight and len(table.weight) > 2:
                if len(table.weight) == table.weight.shape[1]:
                    spared[other] = "as wide as it is long: it may be no output layer"
                elif other not in tied:
                    tied[other] = name
    if not tied:
        there = any(
            isinstance(m, nn.Linear) and any(m.weight is t.weight for t in tables.values())
            for m in every.values()
        )
        spared["tie_embeddings"] = (
            "the output layer has the embedding's weights already"
            if there
            else "no linear layer has a matrix of an embedding's shape"
        )
    return tied


def _with_ties(model: Model, tied: Mapping[str, str], init: str) -> Model:
    ours = model.copy()
    edits: list[Edit] = []
    for layer, table in tied.items():
        one = ours.module.get_submodule(table).weight
        other = ours.module.get_submodule(layer).weight
        if init == "mean":
            with torch.no_grad():
                one.copy_((one + other) / 2)
        edits.append(Tie(module=f"{layer}.weight", to=f"{table}.weight"))
    return replay(ours, edits)


def _codebooks(
    model: Model, options: Share, spared: dict[str, str]
) -> tuple[Model, float, tuple[int, int], int]:
    """Return the model with clustered weights, their mean error, their bytes, and their number."""
    ours = model.copy()
    found = find(ours.module, options.keep, embeddings=True)
    errors, before, after = [], 0, 0
    for name, layer in found.layers.items():
        old = layer.weight.detach().clone()
        if old.numel() <= 4 * options.clusters:
            spared[name] = f"{old.numel()} weights are too few for {options.clusters} values"
            continue
        if not torch.isfinite(old).all():
            spared[name] = "its weights are not finite"
            continue
        new = clustered(old.T if is_transposed(layer) else old, options.clusters)
        new = new.T if is_transposed(layer) else new
        with torch.no_grad():
            layer.weight.copy_(new)
        errors.append(float((old - new).norm() / old.norm().clamp(min=1e-30)))
        before, after = before + _zipped(old), after + _zipped(new)
    spared |= {name: why for name, why in found.spared.items() if name not in spared}
    error = sum(errors) / max(1, len(errors))
    return replace(model, module=ours.module), error, (before, after), len(errors)


def _zipped(weights: torch.Tensor) -> int:
    """Return how many bytes zlib makes of weights, judged by the first of them."""
    data = weights.contiguous().numpy().tobytes()
    return round(len(zlib.compress(data[:LOOKED_AT])) * max(1.0, len(data) / LOOKED_AT))


def _count(model: Model) -> int:
    return sum(p.numel() for p in model.module.parameters())


def _tell(decision: Sharing, options: Share, context: Context) -> None:
    """Say what does not fall."""
    note = context.events.note
    if decision.stacks:
        note(
            "shared layers run as often as before: parameters and the file fall, multiply-adds and "
            "latency do not"
        )
    if decision.tied:
        note(
            "the tied output layer saves parameters; an ONNX file still holds its matrix twice, "
            "once as rows to look up and once turned"
        )
    if decision.zipped:
        before, after = decision.zipped
        note(
            f"clustered weights are still stored as floats: only the compressed download falls, "
            f"with zlib to {after / max(1, before):.0%} of these layers' bytes; training or "
            "quantising afterwards undoes it"
        )
    asked = {"layers": decision.stacks, "embedding": decision.embeddings}
    for name, got in asked.items():
        if getattr(options, name) and not got:
            note(f"`{name}` shared nothing: {'; '.join(decision.spared.values())}")
    if options.tie_embeddings and not decision.tied:
        note(f"`tie_embeddings` tied nothing: {decision.spared['tie_embeddings']}")
    if decision.after > decision.before:
        note("the model has more parameters than before")


def _nothing(spared: Mapping[str, str]) -> ModelError:
    return ModelError(
        "E483",
        "there is nothing to share",
        why="; ".join(f"{name}: {reason}" for name, reason in list(spared.items())[:3])
        or "no list of like layers was found",
        fix="ask for other layers or another width, or leave out `share`",
    )
