"""Scores the blocks of a transformer, and decides which go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from edgepack.compress.batches import Batches
from edgepack.compress.depth import LayerPruning, PruneLayers
from edgepack.compress.objective import first
from edgepack.compress.shown import shown
from edgepack.errors import ModelError
from edgepack.model.attention import attentions_of, entering, stacks_of
from edgepack.model.edits import replay
from edgepack.model.run import repeatable
from edgepack.types import Drop

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

BATCH = 16
FEW = 16
"""Samples below which what blocks turn is mostly theirs, and not the task's."""


def shortened(model: Model, options: PruneLayers, context: Context) -> Model:
    """Return the model without the layers that matter least; see `PruneLayers`."""
    name = next(iter(stacks_of(model.module)), "")
    if not name:
        raise _unfit("it has no list of blocks of one kind", "leave out `prune-layers`")
    blocks = model.module.get_submodule(name)
    count = len(blocks)
    goes = len(options.drop) or round(options.ratio * count)
    if goes >= count or any(not 0 <= place < count for place in options.drop):
        raise _unfit(f"it has {count} layers", f"drop fewer than {count}, counted from 0")
    if goes == 0:
        raise _unfit(f"{options.ratio:g} of {count} layers is none", "raise `ratio`")
    scores: tuple[float, ...] = ()
    if options.drop:
        dropped = tuple(sorted(set(options.drop)))
    else:
        with repeatable(context.seed):
            scores = _scores(model, blocks, options, context)
        order = sorted(range(count), key=lambda place: (scores[place], place))
        dropped = tuple(sorted(order[:goes]))
    context.events.decision(
        LayerPruning(
            layers=name,
            before=count,
            after=count - len(dropped),
            dropped=dropped,
            scores=tuple(round(score, 5) for score in scores),
        )
    )
    try:
        made = replay(model, [Drop(module=name, indices=dropped)])
    except ModelError as problem:
        if problem.code != "E433":
            raise
        raise _unfit(
            f"without them {problem.what}: {problem.why}", "leave out `prune-layers`"
        ) from problem
    _note(model, made, name, context)
    return made


def _note(before: Model, after: Model, name: str, context: Context) -> None:
    """Say what dropping layers does not do."""
    others = [
        other
        for other in stacks_of(after.module)
        if not f"{other}.".startswith(f"{name}.")
        and not name.startswith(f"{other}.")
        and attentions_of(after.module.get_submodule(other)[0])
    ]
    if others:
        context.events.note(f"layers of `{name}` are dropped; those of `{others[0]}` stay")
    if after.facts()["parameters"] == before.facts()["parameters"]:
        context.events.note("the layers share their weights: the file stays as large as it is")


def _scores(
    model: Model, blocks: nn.ModuleList, options: PruneLayers, context: Context
) -> tuple[float, ...]:
    count = len(blocks)
    if options.criterion == "random":
        return tuple(torch.rand(count).tolist())
    if options.criterion == "first":
        return tuple(float(place) for place in range(count))
    if options.criterion == "last":
        return tuple(float(count - place) for place in range(count))
    if options.criterion == "alternate":
        # Every other layer goes before the rest, and the last layers before the first.
        return tuple(float(2 * count * (place % 2 == 0) - place) for place in range(count))
    if options.criterion == "magnitude":
        return tuple(
            float(sum(p.detach().double().square().sum() for p in block.parameters()) ** 0.5)
            for block in blocks
        )
    samples = shown(context, ("calibration", "train"), "influence")
    data = Batches.of(model, samples, labelled=False, most=options.samples)
    if len(data) < FEW:
        context.events.note(f"{len(data)} samples judge the layers: too few to tell them apart")
    return influence(model, blocks, data)


def influence(model: Model, blocks: nn.ModuleList, data: Batches) -> tuple[float, ...]:
    """Return one minus the mean cosine between each block's input and output, over all tokens.

    Padding, as the mask says, does not count.

    Raises:
        ModelError: E468 when a block is not called, or gives what it takes in another shape.
    """
    turned = [0.0] * len(blocks)
    seen = [0] * len(blocks)
    masks: list[torch.Tensor] = []

    def hook(place: int) -> Callable[..., None]:
        def measure(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            before, after = entering(args, kwargs), first(output)
            if before.shape != after.shape:
                raise _unfit(
                    f"layer {place} changes the shape of what flows", "leave out `prune-layers`"
                )
            alike = cosine_similarity(before, after, dim=-1)
            if masks and masks[0].shape == alike.shape:
                alike = alike[masks[0] != 0]
            turned[place] += float((1 - alike).sum())
            seen[place] += alike.numel()

        return measure

    handles = [
        block.register_forward_hook(hook(place), with_kwargs=True)
        for place, block in enumerate(blocks)
    ]
    try:
        with torch.no_grad():
            for inputs, _ in data.each(BATCH):
                masks = [x for n, x in zip(data.names, inputs, strict=True) if "mask" in n]
                model.module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not all(seen):
        raise _unfit(f"layer {seen.index(0)} of the list is not called", "leave out `prune-layers`")
    return tuple(total / count for total, count in zip(turned, seen, strict=True))


def _unfit(why: str, fix: str) -> ModelError:
    return ModelError("E468", "the model's layers cannot be dropped", why=why, fix=fix)
