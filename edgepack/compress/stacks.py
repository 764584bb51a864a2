"""Lists of like layers, and their layers in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.compress.names import fits
from edgepack.compress.share import Share, SharedStack
from edgepack.errors import ModelError, UsageError
from edgepack.model.edits import replay
from edgepack.types import Tie

if TYPE_CHECKING:
    from edgepack.model import Model

CLOSE = 1e-5
"""Difference of outputs, relative to the largest, that the order of sums may make."""


def stacks(model: Model, options: Share, spared: dict[str, str]) -> dict[str, SharedStack]:
    """Return the lists of layers to share, outermost first; reasons are added to `spared`.

    Raises:
        UsageError: E253 when groups name layers that no list has.
    """
    found: dict[str, SharedStack] = {}
    for name, module in model.module.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) < 2:
            continue
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        if fits(name, options.keep):
            spared[name] = "named under `keep`"
            continue
        if reason := _unlike(module):
            # A plain chain of different layers is no stack, and needs no word.
            if isinstance(module, nn.ModuleList):
                spared[name] = reason
            continue
        if groups := _groups(len(module), options):
            found[name] = SharedStack(
                groups=groups,
                before=_parameters(module, range(len(module))),
                after=_parameters(
                    module,
                    set(range(len(module))) - {place for g in groups for place in g[1:]},
                ),
            )
        else:
            spared[name] = f"its {len(module)} layers are not more than the groups"
    if isinstance(options.layers, tuple):
        _check(found, model, options.layers)
    return found


def shared(model: Model, found: Mapping[str, SharedStack], init: str) -> Model:
    """Return the model with one layer for the places of each group, with weights to start with.

    Raises:
        ModelError: E484 when it does not behave as separate layers of the same weights.
    """
    alike = model.copy()
    edits = []
    for name, stack in found.items():
        layers = alike.module.get_submodule(name)
        for group in stack.groups:
            _level([layers[place] for place in group], init)
            edits += [Tie(module=f"{name}.{p}", to=f"{name}.{group[0]}") for p in group[1:]]
    try:
        made = replay(alike, edits)
    except ModelError as problem:
        if problem.code != "E433":
            raise
        raise _placed(problem.why) from problem
    feed = model.sized({axis: max(2, size) for axis, size in model.dynamic_axes().items()})
    wanted, given = alike.run(feed), made.run(feed)
    for spec in model.outputs:
        one, other = torch.from_numpy(wanted[spec.name]), torch.from_numpy(given[spec.name])
        if one.shape != other.shape or not torch.allclose(
            one.double(), other.double(), rtol=0, atol=CLOSE * max(1.0, float(one.abs().max()))
        ):
            raise _placed(f"`{spec.name}` differs from that of separate layers of the same weights")
    return made


def _unlike(layers: Sequence[nn.Module]) -> str:
    """Say why layers cannot be one; nothing where they can."""
    shapes = [{name: tuple(p.shape) for name, p in one.state_dict().items()} for one in layers]
    if not shapes[0]:
        return "its layers hold no weights"
    for place, layer in enumerate(layers):
        if layer is layers[0] and place:
            return "its layers are one already"
        if type(layer) is not type(layers[0]) or shapes[place] != shapes[0]:
            return f"layer {place} has other shapes than layer 0"
    return ""


def _groups(count: int, options: Share) -> tuple[tuple[int, ...], ...]:
    """Return groups of at least two places."""
    if isinstance(options.layers, tuple):
        every = [tuple(sorted(group)) for group in options.layers]
        every = every if all(place < count for group in every for place in group) else []
    else:
        number = 1 if options.layers == "all" else options.layers
        bounds = [round(count * turn / number) for turn in range(number + 1)]
        every = [tuple(range(a, b)) for a, b in pairwise(bounds)]
    return tuple(group for group in every if len(group) > 1)


def _check(
    found: Mapping[str, SharedStack], model: Model, groups: tuple[tuple[int, ...], ...]
) -> None:
    if found:
        return
    raise UsageError(
        "E253",
        "`layers` names layers that no list has",
        where="layers",
        why=f"the highest place is {max((p for g in groups for p in g), default=0)}, and the lists "
        f"of layers have {_lengths(model) or 'none'}",
        fix="count from 0, and name at least two places in a group",
    )


def _lengths(model: Model) -> str:
    lists = (m for m in model.module.modules() if isinstance(m, nn.ModuleList))
    return ", ".join(sorted({str(len(one)) for one in lists}))


def _level(layers: Sequence[nn.Module], init: str) -> None:
    """Give layers the same weights: their mean, or those of one of them."""
    states = [layer.state_dict() for layer in layers]
    place = {"mean": 0, "first": 0, "middle": (len(layers) - 1) // 2}[init]
    with torch.no_grad():
        for name, one in states[place].items():
            if init == "mean" and one.is_floating_point():
                value = torch.stack([state[name].double() for state in states]).mean(0)
            else:
                value = one.clone()
            for state in states:
                state[name].copy_(value)


def _parameters(layers: Sequence[nn.Module], places: Sequence[int] | set[int] | range) -> int:
    every = {id(p): p.numel() for place in places for p in layers[place].parameters()}
    return sum(every.values())


def _placed(sign: str) -> ModelError:
    return ModelError(
        "E484",
        "one layer cannot serve in several places of this model",
        why=f"{sign}; its layers know their place, as where each keeps keys and values in a cache",
        fix="turn the cache off (`use_cache = False`), or leave `layers` out",
    )
