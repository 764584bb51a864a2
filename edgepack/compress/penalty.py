"""Penalties that pull channels, scales or weights to zero in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from edgepack.compress.batches import Batches
from edgepack.compress.criteria.places import axis
from edgepack.compress.train import plain, summary, train
from edgepack.errors import ModelError
from edgepack.model.groups import Group, Groups

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.sparsify import Sparsify
    from edgepack.model import Model

SMALL = 0.1
"""A size below this share of the mean one counts as near zero."""
SPARSE, HARDLY, NEARLY_ALL = 0.3, 0.02, 0.95
"""Shares near zero: many before; next to none more after; more after than one would cut."""
TINY = 1e-12
"""Added to squares: a root has no slope at zero."""

Sizes = Callable[[torch.nn.Module], list[torch.Tensor]]
"""Gives, for a module, the sizes [n] of what is pulled to zero, one tensor a layer or group."""


def sparsified(model: Model, options: Sparsify, context: Context) -> Model:
    """Return a model trained with a penalty; see `Sparsify`."""
    sizes = {"group": _channels, "batch-norm": _scales, "l1": _weights}[options.penalty](model)
    usual = [layer.mean() for layer in _measured(sizes, model)]
    before = near_zero(_measured(sizes, model), usual)
    data = Batches.of(model, context.data["train"], labelled=False)
    aim = plain(data)

    def objective(module: torch.nn.Module, places: Sequence[int]) -> torch.Tensor:
        if not module.training:
            return aim(module, places)
        pull = torch.stack([layer.sum() for layer in sizes(module)]).sum()
        return aim(module, places) + options.strength * pull

    made, trained = train(model, data, options.schedule(), context, "sparsify", objective=objective)
    after = near_zero(_measured(sizes, made), usual)
    context.events.decision(
        {
            "penalty": options.penalty,
            "near_zero_before": round(before, 4),
            "near_zero_after": round(after, 4),
            **summary(trained),
        }
    )
    if said := _doubt(before, after, options, made.module):
        context.events.note(said)
    return made


def _doubt(before: float, after: float, options: Sparsify, module: torch.nn.Module) -> str:
    """Return where training for zeros does not suit, or nothing."""
    if before > SPARSE:
        return f"{before:.0%} were near zero before: the model is sparse already, prune it as it is"
    if after > NEARLY_ALL:
        return f"{after:.0%} are near zero: lower `strength` if accuracy fell"
    if after - before >= HARDLY:
        return ""
    said = "hardly more is near zero than before; raise `strength` or `epochs`, or leave it out"
    if options.optimizer == "adam" and any(isinstance(m, _BatchNorm) for m in module.modules()):
        said += '; with batch norms, `optimizer = "sgd"` and a rate about 0.1 pull harder'
    return said


def near_zero(sizes: Sequence[torch.Tensor], usual: Sequence[torch.Tensor]) -> float:
    """Return the share of sizes that are far under the mean one of their layer or group.

    Args:
        sizes: those of each layer or group.
        usual: what the mean ones were before; where a whole layer went, all of it counts.
    """
    means = [torch.maximum(s.mean(), SMALL * mean) for s, mean in zip(sizes, usual, strict=True)]
    pairs = zip(sizes, means, strict=True)
    small = sum(int((layer <= SMALL * mean).sum()) for layer, mean in pairs)
    total: int = sum(layer.numel() for layer in sizes)
    return small / total


def _measured(sizes: Sizes, model: Model) -> list[torch.Tensor]:
    with torch.no_grad():
        return sizes(model.module)


@dataclass(frozen=True)
class _Part:
    """What one tensor of weights has of a group's channels.

    Attributes:
        name: the tensor's.
        axis: along which the channels lie.
        places: along that axis.
        channels: for each place, its channel.
    """

    name: str
    axis: int
    places: torch.Tensor
    channels: torch.Tensor

    def rows(self, module: torch.nn.Module) -> torch.Tensor:
        """Return one row a place [places, n]."""
        turned = module.get_parameter(self.name).transpose(0, self.axis)
        return turned[self.places].reshape(len(self.places), -1)


def _channels(model: Model) -> Sizes:
    """Return the length of all weights that go with a channel, times the root of their number.

    Norms and what reads the channel count as well: a layer in front of a batch norm could shrink
    alone without any effect.
    """
    groups = [group for group in Groups(model.copy()) if not group.obstacle and group.channels > 1]
    if not groups:
        raise _nothing("no channel of the model may be removed")
    parts = [tuple(_parts(model.module, group)) for group in groups]

    def sizes(module: torch.nn.Module) -> list[torch.Tensor]:
        found = []
        for group, some in zip(groups, parts, strict=True):
            squares, counts = torch.zeros(2, group.channels)
            for part in some:
                rows = part.rows(module).float()
                squares = squares.index_add(0, part.channels, rows.square().sum(1))
                weights = torch.full((len(rows),), float(rows.shape[1]))
                counts = counts.index_add(0, part.channels, weights)
            found.append(((squares + TINY) * counts).sqrt())
        return found

    return sizes


def _parts(module: torch.nn.Module, group: Group) -> Iterator[_Part]:
    for member in group.members:
        layer = module.get_submodule(member.module)
        for name, tensor in layer.named_parameters(member.module, recurse=False):
            if member.side == "in" and tensor.dim() < 2:
                continue
            along = axis(layer, member) if tensor.dim() > 1 else 0
            places, channels = torch.tensor(member.indices), torch.tensor(member.channels)
            yield _Part(name, along, places, channels)


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
