"""The work of `qat`: puts rounding into a model, trains it, and keeps what it came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgepack.compress.batches import Batches
from edgepack.compress.fake.levels import LEVELS, NARROW, Activation, Sign, Weight
from edgepack.compress.fake.places import Places, Point, axis_of, find
from edgepack.compress.fake.settle import settle
from edgepack.compress.lessons import Lessons
from edgepack.compress.objective import first, loss, soft
from edgepack.compress.train import summary, train

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.qat import Qat
    from edgepack.model import Model
    from edgepack.model.fit import Objective

SEEN = 256
"""Most samples that the first ranges are taken from."""


def learn(model: Model, options: Qat, context: Context) -> Model:
    """Return the model trained at few levels; raises as `Qat.apply`."""
    data = Batches.of(model, context.data["train"], labelled=False)
    places = find(model, options.keep)
    if not options.rounds_activations:
        places = places.model_copy(update={"points": (), "fed": {}})
    ranges = _seen(model, places.points, data, options.batch_size)
    ours = model.copy()
    _install(ours.module, places, options, ranges)
    made, trained = train(
        replace(model, module=ours.module),
        data,
        options.schedule(),
        context,
        "qat",
        objective=_taught(model, data, options, context) if options.distil else None,
    )
    settled = settle(model, made.module, places, options.width)
    context.events.decision({"samples": len(data), **summary(trained), **places.model_dump()})
    if places.left:
        kept = ", ".join(f"`{name}` ({why})" for name, why in list(places.left.items())[:3])
        context.events.note(f"{len(places.left)} layers stay float: {kept}")
    return settled


def _install(
    root: nn.Module, places: Places, options: Qat, ranges: Mapping[Point, tuple[float, float]]
) -> None:
    """Round a module's weights and points from now on, in place."""
    levels = NARROW if options.width == "w8" and options.narrow else LEVELS[options.width]
    for name in places.layers:
        layer = root.get_submodule(name)
        axis, weight = axis_of(layer), layer.weight
        made = Sign(weight, axis) if options.width == "binary" else Weight(weight, axis, levels)
        parametrize.register_parametrization(layer, "weight", made)
    for point, (low, high) in ranges.items():
        name, side = point
        module = root.get_submodule(name)
        module.add_module(f"rounded_{side}", Activation(low, high))
        if side == "in":
            module.register_forward_pre_hook(_take)
        else:
            module.register_forward_hook(_give)


def _take(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return module.rounded_in(args[0]), *args[1:]


def _give(module: nn.Module, _: object, given: torch.Tensor) -> torch.Tensor:
    rounded: torch.Tensor = module.rounded_out(given)
    return rounded


def _seen(
    model: Model, points: Sequence[Point], data: Batches, size: int
) -> dict[Point, tuple[float, float]]:
    """Return the extremes of what flows through each point.

    What a module gives is looked at before its batch norm is folded, so the point lies behind it.
    """
    found: dict[Point, tuple[float, float]] = {}

    def note(point: Point, tensor: torch.Tensor) -> None:
        low, high = found.get(point, (0.0, 0.0))
        found[point] = (min(low, float(tensor.min())), max(high, float(tensor.max())))

    handles = []
    for name, side in points:
        module = model.module.get_submodule(name)
        point: Point = (name, side)
        if side == "in":
            handles.append(
                module.register_forward_pre_hook(lambda _, args, p=point: note(p, args[0]))
            )
        else:
            handles.append(
                module.register_forward_hook(lambda _, __, given, p=point: note(p, given))
            )
    try:
        if points:
            with torch.no_grad():
                for start in range(0, min(len(data), SEEN), size):
                    model.module(*data.inputs(range(start, min(start + size, len(data)))))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _taught(model: Model, data: Batches, options: Qat, context: Context) -> Objective:
    """Return an objective that mixes the labels with what the model itself answers in float.

    Scores are held softened; values, and vectors without labels, by their square error relative to
    their own size.
    """
    lessons = Lessons(model.copy(), data, (), options.batch_size, context.events)
    labels = data.labels
    scores = (
        not labels.is_floating_point() if labels is not None else "input_ids" in data.names
    ) and _many(lessons)
    share = options.distil if labels is not None or scores else 1.0

    def objective(module: nn.Module, places: Sequence[int]) -> torch.Tensor:
        given = first(module(*data.inputs(places)))
        wanted = lessons.at(places)[1]
        if scores:
            taught = soft(given, wanted, options.temperature)
        else:
            taught = (given - wanted).square().mean() / wanted.square().mean().clamp(min=1e-12)
        return taught if share == 1 else share * taught + (1 - share) * loss(given, data, places)

    return objective


def _many(lessons: Lessons) -> bool:
    """Whether an answer is a vector of scores, and has as many axes as it needs for that."""
    answer = lessons.at(range(1))[1]
    return len(answer.shape) > 1
