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
from edgepack.errors import ModelError, UsageError
from edgepack.model.attention import blocks_of
from edgepack.model.edits import replay
from edgepack.model.run import repeatable
from edgepack.types import Drop

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

BATCH = 16


def shortened(model: Model, options: PruneLayers, context: Context) -> Model:
    """Return the model without the layers that matter least; see `PruneLayers`."""
    name = blocks_of(model.module)
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
    return replay(model, [Drop(module=name, indices=dropped)])


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
    split = next((s for s in ("calibration", "train") if s in context.data), None)
    if split is None:
        raise UsageError(
            "E213",
            "`prune-layers` by influence needs calibration or train data",
            fix='add `calibration = "..."` under [data], or set criterion = "magnitude"',
        )
    data = Batches.of(model, context.data[split], labelled=False, most=options.samples)  # type: ignore[index]
    return influence(model, blocks, data)


def influence(model: Model, blocks: nn.ModuleList, data: Batches) -> tuple[float, ...]:
    """Return one minus the mean cosine between each block's input and output, over all tokens."""
    turned = [0.0] * len(blocks)
    seen = [0] * len(blocks)

    def hook(place: int) -> Callable[..., None]:
        def measure(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            before = args[0] if args else kwargs["hidden_states"]
            after = first(output)
            alike = cosine_similarity(before.flatten(0, -2), after.flatten(0, -2), dim=-1)
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
                model.module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(total / max(1, count) for total, count in zip(turned, seen, strict=True))


def _unfit(why: str, fix: str) -> ModelError:
    return ModelError("E468", "the model's layers cannot be dropped", why=why, fix=fix)
