"""Penalties that pull channels, scales or weights to zero in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from edgepack.compress.batches import Batches
from edgepack.compress.train import plain, summary, train
from edgepack.errors import ModelError
from edgepack.model.groups import Groups

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.sparsify import Sparsify
    from edgepack.model import Model

SMALL = 0.1
"""A size below this share of the mean one counts as near zero."""

Sizes = Callable[[torch.nn.Module], list[torch.Tensor]]
"""Gives, for a module, the sizes [n] of what is pulled to zero, one tensor a layer or group."""


def sparsified(model: Model, options: Sparsify, context: Context) -> Model:
    """Return a model trained with a penalty; see `Sparsify`."""
    sizes = {"group": _channels, "batch-norm": _scales, "l1": _weights}[options.penalty](model)
    before = near_zero(sizes(model.module))
    data = Batches.of(model, context.data["train"], labelled=False)
    aim = plain(data)

    def objective(module: torch.nn.Module, places: Sequence[int]) -> torch.Tensor:
        pull = torch.stack([layer.sum() for layer in sizes(module)]).sum()
        return aim(module, places) + options.strength * pull

    made, trained = train(model, data, options.schedule(), context, "sparsify", objective=objective)
    after = near_zero(sizes(made.module))
    context.events.decision(
        {
            "penalty": options.penalty,
            "near_zero_before": round(before, 4),
            "near_zero_after": round(after, 4),
            **summary(trained),
        }
    )
    if before > 0.3:
        context.events.note(
            f"{before:.0%} were near zero before: the model is sparse already, prune it as it is"
        )
    elif after - before < 0.02:
        context.events.note(
            "hardly more is near zero than before; raise `strength` or `epochs`, or leave it out"
        )
    return made


def near_zero(sizes: Sequence[torch.Tensor]) -> float:
    """Return the share of sizes that are under a tenth of the mean of their layer or group."""
    small = sum(int((layer <= SMALL * layer.mean()).sum()) for layer in sizes)
    total: int = sum(layer.numel() for layer in sizes)
    return small / total


def _channels(model: Model) -> Sizes:
    """Return the length of each channel's weights, over all layers of its group that give it."""
    groups = [group for group in Groups(model.copy()) if not group.obstacle and group.channels > 1]
    if not groups:
        raise _nothing("no channel of the model may be removed")
    parts = [
        [(m.module, list(m.indices), list(m.channels)) for m in group.members if m.side == "out"]
        for group in groups
    ]

    def sizes(module: torch.nn.Module) -> list[torch.Tensor]:
        found = []
        for group, members in zip(groups, parts, strict=True):
            total = torch.zeros(group.channels)
            for name, indices, channels in members:
                layer = module.get_submodule(name)
                weight = getattr(layer, "weight", None)
                if weight is None or weight.dim() < 2:
                    continue
                rows = weight.transpose(0, 1) if type(layer).__name__ == "Conv1D" else weight
                squares = rows.flatten(1).square().sum(1)[indices]
                total = total.index_add(0, torch.tensor(channels), squares)
            found.append((total + 1e-12).sqrt())
        return found

    return sizes


def _scales(model: Model) -> Sizes:
    names = [
        name
        for name, layer in model.module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.affine
    ]
    if not names:
        raise _nothing("the model has no batch norm")
    return lambda module: [module.get_submodule(name).weight.abs() for name in names]


def _weights(model: Model) -> Sizes:
    names = [name for name, p in model.module.named_parameters() if p.dim() > 1]
    if not names:
        raise _nothing("the model has no matrix")
    return lambda module: [module.get_parameter(name).abs().flatten() for name in names]


def _nothing(why: str) -> ModelError:
    return ModelError(
        "E459",
        "there is nothing for `sparsify` to pull to zero",
        why=why,
        fix="choose another `penalty`, or leave out `sparsify`",
    )
