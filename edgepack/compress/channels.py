"""Decides which channels to cut, round by round, and proves on the model that they may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from edgepack.compress.batches import Batches
from edgepack.compress.criteria.subject import Subject
from edgepack.compress.names import fits, require_names
from edgepack.compress.prune import BUDGETS, Prune, PrunedGroup, Pruning
from edgepack.compress.shown import shown
from edgepack.compress.widths import Ranked, cuts, layers_of
from edgepack.compress.zeroed import sound
from edgepack.errors import ModelError
from edgepack.model.edits import replay
from edgepack.model.groups import Group, Groups
from edgepack.model.run import repeatable
from edgepack.types import Cut

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

FINE = 1 / 512
"""How close the search for a ratio comes to the one that just meets a budget."""
SPARSE = 0.3
"""Share of zero weights from which a model counts as sparse already."""
WIDE = 8
"""Channels that ONNX Runtime's kernels take at once."""
FEW = 0.95
"""Share of the multiply-adds left above which nobody would notice."""
WORDS = {"macs": "multiply-adds", "params": "parameters", "size": "bytes of weights"}


@dataclass
class _Course:
    """A pruning in the making.

    Attributes:
        options: what was asked for.
        data: what the criterion looks at.
        seed: seeds the criterion.
        whole: the model before the first round.
        widths: channels of each group before the first round.
        left: channels of each group now, and its layers.
        spared: what is left alone, and why.
    """

    options: Prune
    data: Batches | None
    seed: int
    whole: Model
    widths: dict[str, int] = field(default_factory=dict)
    left: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)
    spared: dict[str, str] = field(default_factory=dict)


def decide(model: Model, options: Prune, context: Context) -> Pruning:
    """Choose the least channels of each group by the criterion.

    Raises:
        ModelError: E431 when the model cannot be traced, E435 when there is nothing to prune, E460
            when a budget cannot be met, E461 when scores are no numbers.
        UsageError: E227 when the criterion lacks its data, E263 when a name fits no layer.
    """
    names = [name for name, _ in model.module.named_modules() if name]
    require_names(options.keep, names, "keep")
    require_names(tuple(options.per_layer), names, "per_layer")
    course = _Course(options, _data(model, options, context), context.seed, model)
    course.spared |= {
        name: f"{type(layer).__name__} feeds its outputs back as inputs, through gates of one width"
        for name, layer in model.module.named_modules()
        if isinstance(layer, torch.nn.RNNBase)
    }
    made: list[Cut] = []
    now = model
    for turn in range(1, options.steps + 1):
        found = _round(now, course, turn / options.steps)
        now = replay(now, found)
        made += found
        context.events.progress("prune", turn, options.steps)
    if not made:
        raise _nothing(course.spared)
    _note(model, now, course, context)
    return Pruning(
        groups=tuple(
            PrunedGroup(layers=layers, before=course.widths[name], after=left)
            for name, (layers, left) in course.left.items()
            if left < course.widths[name]
        ),
        spared=course.spared,
        cuts=tuple(made),
    )


def _data(model: Model, options: Prune, context: Context) -> Batches | None:
    splits = _criterion(options).READS
    if not splits:
        return None
    samples = shown(context, splits, options.criterion)
    return Batches.of(model, samples, labelled=False, most=options.samples)


def _criterion(options: Prune) -> Any:
    name = options.criterion.replace("-", "_")
    return import_module(f"edgepack.compress.criteria.{name}")


def _round(model: Model, course: _Course, done: float) -> list[Cut]:
    """Choose what goes in one round, after which a share of the rounds is over."""
    groups = Groups(model.copy())
    ranked = _ranked(groups, model, course)
    while True:
        found = _enough(model, ranked, course, done)
        right = sound(model, groups, found)
        if len(right) == len(found):
            break
        for cut in (cut for cut in found if cut not in right):
            course.spared[cut.module] = "removing its channels is not the same as zeroing them"
        ranked = [one for one in ranked if one.group.name not in course.spared]
    for cut in found:
        layers, left = course.left[cut.module]
        course.left[cut.module] = layers, left - len(cut.indices)
    return found


def _ranked(groups: Groups, model: Model, course: _Course) -> list[Ranked]:
    """Score the groups whose channels may go, and write down why the others stay."""
    free: list[Group] = []
    for group in groups:
        course.widths.setdefault(group.name, group.channels)
        course.left[group.name] = layers_of(group), group.channels
        if group.obstacle:
            course.spared[group.name] = group.obstacle
        elif any(fits(layer, course.options.keep) for layer in layers_of(group)):
            course.spared[group.name] = "named under `keep`"
        elif group.name not in course.spared:
            free.append(group)
    judge = model.copy().module
    # What needs no data needs none of the time that torch takes to become repeatable.
    with repeatable(course.seed) if course.data else nullcontext():
        scores = _criterion(course.options).scores(Subject(judge, free, course.data, course.seed))
    ranked = []
    for group, one in zip(free, scores, strict=True):
        if one is None:
            course.spared[group.name] = f"`{course.options.criterion}` has nothing to go by there"
        elif not torch.isfinite(one).all():
            raise _no_number(group.name, course.options.criterion)
        else:
            ranked.append(Ranked(group, one, course.widths[group.name]))
    return ranked


def _enough(model: Model, ranked: Sequence[Ranked], course: _Course, done: float) -> list[Cut]:
    """Return the cuts of a round: those that the ratio asks for, or just enough for the budget."""
    options = course.options
    if options.ratio is not None:
        return cuts(ranked, options.ratio * done, done, options)
    name = next(name for name in BUDGETS if getattr(options, name) is not None)
    wanted = 1 - (1 - float(getattr(options, name))) * done
    full = MEASURES[name](course.whole)
    known: dict[tuple[Cut, ...], bool] = {}

    def meets(some: list[Cut]) -> bool:
        key = tuple(some)
        if key not in known:
            known[key] = MEASURES[name](replay(model, some)) <= wanted * full
        return known[key]

    low, high = 0.0, 1.0
    most = cuts(ranked, high, done, options)
    if not ranked:
        return []
    if not meets(most):
        raise _too_much(name, getattr(options, name), MEASURES[name](replay(model, most)) / full)
    best = most
    while high - low > FINE:
        middle = (low + high) / 2
        found = cuts(ranked, middle, done, options)
        if meets(found):
            high, best = middle, found
        else:
            low = middle
    return best


MEASURES: dict[str, Callable[[Model], int]] = {
    "macs": lambda model: int(model.facts()["multiply_adds"]),
    "params": lambda model: int(model.facts()["parameters"]),
    "size": lambda model: sum(
        {
            t.data_ptr(): t.numel() * t.element_size() for t in model.module.state_dict().values()
        }.values()
    ),
}
"""What a budget limits."""


def _note(before: Model, after: Model, course: _Course, context: Context) -> None:
    """Say where pruning does not suit, or gains less than it seems."""
    options = course.options
    for name, (_, left) in course.left.items():
        if left == course.widths[name] and name not in course.spared:
            course.spared[name] = (
                f"{left} channels are too few"
                if options.scope == "layer"
                else "its channels matter more than those of other groups"
            )
    weights = [p for p in before.module.parameters() if p.dim() > 1]
    zeros = sum(int((p == 0).sum()) for p in weights) / max(1, sum(p.numel() for p in weights))
    if zeros >= SPARSE:
        context.events.note(
            f"{zeros:.0%} of the weights were zero already: what is left matters more, and pruning "
            "costs more accuracy than its share tells"
        )
    odd = sorted(
        name
        for name, (_, left) in course.left.items()
        if left < course.widths[name] and left % WIDE
    )
    if odd:
        context.events.note(
            f"{len(odd)} groups, such as `{odd[0]}`, have a width that is no multiple of {WIDE}: "
            "their latency falls by less than their work"
        )
    was, now = MEASURES["macs"](before), MEASURES["macs"](after)
    if was and now > FEW * was:
        context.events.note(
            f"{now / was:.0%} of the multiply-adds are left: do not expect a lower latency"
        )


def _nothing(spared: dict[str, str]) -> ModelError:
    return ModelError(
        "E435",
        "there is nothing to prune",
        why="; ".join(f"{name}: {reason}" for name, reason in list(spared.items())[:3])
        or "no convolution or linear layer was found",
        fix="raise `ratio`, lower `round_to`, spare fewer layers, or leave out `prune`",
    )


def _too_much(name: str, share: float, reached: float) -> ModelError:
    return ModelError(
        "E460",
        f"pruning cannot leave as little as {share:g} of the {WORDS[name]}",
        where=name,
        why=f"with the fewest channels everywhere {reached:.3f} are left",
        fix=f"set `{name}` above {reached:.2f}, lower `round_to`, or spare fewer layers",
    )


def _no_number(group: str, criterion: str) -> ModelError:
    return ModelError(
        "E461",
        f"the `{criterion}` scores of `{group}` are no numbers",
        why="weights, data or gradients hold NaN or infinite values",
        fix="look for NaN, infinite or huge values in the data and the model",
    )
