"""Decides which channels to cut, and proves on the model that they may be."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgepack.compress.prune import Prune, PrunedGroup, Pruning
from edgepack.errors import ModelError, UsageError, did_you_mean
from edgepack.model.edits import replay
from edgepack.model.groups import Group, Groups
from edgepack.types import Cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgepack.model import Model

EXACT = 1e-3
"""Largest difference, relative to the largest output, between cutting channels and zeroing them."""


def decide(model: Model, options: Prune) -> Pruning:
    """Choose the least channels of each group by the criterion.

    Raises:
        ModelError: E431 when the model cannot be traced, E435 when there is nothing to prune.
        UsageError: E263 when a name under `keep` fits no layer.
    """
    ours = model.copy()
    _check_names(ours.module, options.keep)
    scores = import_module(f"edgepack.compress.criteria.{options.criterion}").scores
    spared: dict[str, str] = {}
    chosen: list[tuple[Group, Cut]] = []
    groups = Groups(ours)
    for group in groups:
        left = channels_left(group.channels, options.ratio, options.round_to)
        layers = _layers(group)
        if group.obstacle:
            spared[group.name] = group.obstacle
        elif any(fnmatchcase(layer, pattern) for layer in layers for pattern in options.keep):
            spared[group.name] = "named under `keep`"
        elif left >= group.channels:
            spared[group.name] = f"{group.channels} channels are too few"
        else:
            order = torch.argsort(scores(ours.module, group), stable=True)
            least = sorted(order[: group.channels - left].tolist())
            chosen.append((group, Cut(module=group.name, side="out", indices=tuple(least))))
    sound = _sound(model, groups, [cut for _, cut in chosen])
    for _, cut in chosen:
        if cut not in sound:
            spared[cut.module] = "removing its channels is not the same as zeroing them"
    if not sound:
        raise _nothing(spared)
    return Pruning(
        groups=tuple(
            PrunedGroup(
                layers=_layers(group),
                before=group.channels,
                after=group.channels - len(cut.indices),
            )
            for group, cut in chosen
            if cut in sound
        ),
        spared=spared,
        cuts=tuple(sound),
    )


def channels_left(channels: int, ratio: float, round_to: int) -> int:
    """Return the multiple of `round_to` that is nearest to what the ratio leaves, at least one."""
    return max(1, int(channels * (1 - ratio) / round_to + 0.5)) * round_to


def _layers(group: Group) -> tuple[str, ...]:
    return tuple(m.module for m in group.members if m.side == "out")


def _sound(model: Model, groups: Groups, cuts: Sequence[Cut]) -> list[Cut]:
    """Return the cuts that do what they should: all where together they do, else one by one."""
    if not cuts or _equals_zeroing(model, groups, cuts):
        return list(cuts)
    alone = [cut for cut in cuts if _equals_zeroing(model, groups, [cut])]
    return alone if _equals_zeroing(model, groups, alone) else []


def _equals_zeroing(model: Model, groups: Groups, cuts: Sequence[Cut]) -> bool:
    """Hold the model after cuts against the model with zeros where the cut channels are read."""
    feed = model.sized({}, seed=1)
    zeroed = model.copy()
    try:
        for member in (m for cut in cuts for m in groups.members(cut) if m.side == "in"):
            weight = zeroed.module.get_submodule(member.module).weight
            with torch.no_grad():
                weight[:, list(member.indices)] = 0
        expected, got = zeroed.run(feed), replay(model, cuts).run(feed)
    except (RuntimeError, IndexError, ValueError, ModelError):
        return False
    pairs = [(expected[name], got[name]) for name in expected]
    return all(
        a.shape == b.shape and np.abs(a - b).max(initial=0) <= EXACT * np.abs(a).max(initial=0)
        for a, b in pairs
        if a.dtype.kind == "f"
    )


def _check_names(module: torch.nn.Module, patterns: Sequence[str]) -> None:
    names = [name for name, _ in module.named_modules() if name]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                "E263",
                f"no layer is named `{pattern}`",
                where="keep",
                fix=did_you_mean(pattern, names),
            )


def _nothing(spared: dict[str, str]) -> ModelError:
    return ModelError(
        "E435",
        "there is nothing to prune",
        why="; ".join(f"{name}: {reason}" for name, reason in list(spared.items())[:3])
        or "no convolution or linear layer was found",
        fix="raise `ratio`, lower `round_to`, spare fewer layers, or leave out `prune`",
    )
