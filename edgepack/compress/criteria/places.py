"""Where the channels of a group lie in the weights of its layers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgepack.model.groups import Group, Member
from edgepack.model.matrices import is_transposed


def axis(layer: torch.nn.Module, member: Member) -> int:
    """Return the axis of a layer's weight along which a member's channels lie."""
    turned = is_transposed(layer) or bool(getattr(layer, "transposed", False))
    return int((member.side == "in") != turned)


def rows(layer: torch.nn.Module, member: Member, values: torch.Tensor) -> torch.Tensor:
    """Return values of the shape of a layer's weight, one row a place [places, n]."""
    turned = values.detach().transpose(0, axis(layer, member)) if values.dim() > 1 else values
    return turned.detach()[list(member.indices)].double().reshape(len(member.indices), -1)


def gather(group: Group, member: Member, each: torch.Tensor) -> torch.Tensor:
    """Add up a number for each place [places] over the places of each channel [channels]."""
    total = torch.zeros(group.channels, dtype=torch.float64)
    return total.index_add_(0, torch.tensor(member.channels), each.double())


def summed(
    module: torch.nn.Module,
    group: Group,
    measure: Callable[[torch.Tensor], torch.Tensor],
    finish: Callable[[torch.Tensor], torch.Tensor] = torch.abs,
) -> torch.Tensor:
    """Return a group's scores: what its layers say of each channel, added up [channels].

    Args:
        module: holds the layers.
        group: its channels.
        measure: from weights [places, n] to a number for each place.
        finish: what becomes of a layer's numbers once those of a channel's places are added up.
    """
    total = torch.zeros(group.channels, dtype=torch.float64)
    for member in group.members:
        layer = module.get_submodule(member.module)
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, torch.Tensor) or (member.side == "in" and weight.dim() < 2):
            continue
        said = finish(gather(group, member, measure(rows(layer, member, weight))))
        # Each layer has the same say, however large its weights are.
        if (mean := said.mean()) != 0:
            total += said / mean
    return total


def readers(module: torch.nn.Module, group: Group) -> list[tuple[torch.nn.Module, Member]]:
    """Return the layers that read a group's channels: zeroing there is removing."""
    return [(module.get_submodule(m.module), m) for m in group.members if m.side == "in"]
