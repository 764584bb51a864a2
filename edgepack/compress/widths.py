"""From scores and a ratio to the channels that go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from edgepack.compress.names import fits
from edgepack.compress.prune import Prune
from edgepack.model.groups import Group
from edgepack.types import Cut


@dataclass(frozen=True)
class Ranked:
    """A group whose channels may go.

    Attributes:
        group: the group.
        scores: how much each channel matters [channels], float64.
        before: how many channels it had before the first round.
    """

    group: Group
    scores: torch.Tensor
    before: int


def layers_of(group: Group) -> tuple[str, ...]:
    """Return the layers that lose outputs."""
    return tuple(m.module for m in group.members if m.side == "out")


def channels_left(channels: int, ratio: float, round_to: int) -> int:
    """Return the multiple of `round_to` that is nearest to what the ratio leaves, at least one."""
    return max(1, int(channels * (1 - ratio) / round_to + 0.5)) * round_to


def cuts(ranked: Sequence[Ranked], ratio: float, done: float, options: Prune) -> list[Cut]:
    """Return the least channels of each group.

    Args:
        ranked: the groups.
        ratio: share of the channels before the first round that is gone after this one.
        done: share of the rounds that is over then; it scales the ratios of single layers.
        options: scope, multiples and ratios of single layers.
    """
    special = {
        one.group.name: share * done
        for one in ranked
        for share in [_own(one.group, options.per_layer)]
        if share is not None
    }
    free = [one for one in ranked if one.group.name not in special]
    shares = {one.group.name: ratio for one in free}
    if options.scope == "global":
        shares = _least_of_all(free, ratio)
    shares |= special
    found = []
    for one in ranked:
        left = channels_left(one.before, shares[one.group.name], options.round_to)
        if left < one.group.channels and shares[one.group.name] > 0:
            order = torch.argsort(one.scores, stable=True)
            least = sorted(order[: one.group.channels - left].tolist())
            found.append(Cut(module=one.group.name, side="out", indices=tuple(least)))
    return found


def _own(group: Group, ratios: Mapping[str, float]) -> float | None:
    for pattern, ratio in ratios.items():
        if any(fits(layer, (pattern,)) for layer in layers_of(group)):
            return ratio
    return None


def _least_of_all(ranked: Sequence[Ranked], ratio: float) -> dict[str, float]:
    """Return each group's share where the least channels of all groups go.

    Scores are divided by their group's mean, so that groups compare.
    """
    if not ranked:
        return {}
    each = [one.scores / one.scores.mean().clamp(min=1e-300) for one in ranked]
    whose = torch.cat([torch.full((len(s),), place) for place, s in enumerate(each)])
    total = sum(one.before for one in ranked)
    more = max(0, round(total * ratio) - (total - len(whose)))
    gone = whose[torch.argsort(torch.cat(each), stable=True)[:more]].bincount(minlength=len(each))
    return {
        one.group.name: 1 - (one.group.channels - int(n)) / one.before
        for one, n in zip(ranked, gone, strict=True)
    }
