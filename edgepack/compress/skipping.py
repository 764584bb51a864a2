"""Trains with blocks left out at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgepack.compress.batches import Batches
from edgepack.compress.objective import first
from edgepack.compress.train import plain, summary, train
from edgepack.errors import ModelError
from edgepack.model.attention import blocks_of, entering

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.compress.layer_drop import LayerDrop
    from edgepack.model import Model


def trained_to_skip(model: Model, options: LayerDrop, context: Context) -> Model:
    """Return the model after training with blocks left out; see `LayerDrop`."""
    name = blocks_of(model.module)
    if not name:
        raise _unfit("no list holds two or more blocks of one kind")
    data = Batches.of(model, context.data["train"], labelled=False)
    aim = plain(data)

    def objective(module: nn.Module, places: Sequence[int]) -> torch.Tensor:
        if not module.training:
            return aim(module, places)
        blocks = module.get_submodule(name)
        left_out = (torch.rand(len(blocks)) < options.rate).tolist()
        with _skipped(blocks, left_out):
            return aim(module, places)

    made, trained = train(
        model, data, options.schedule(), context, "layer-drop", objective=objective
    )
    context.events.decision({"layers": name, "rate": options.rate, **summary(trained)})
    return made


@contextmanager
def _skipped(blocks: nn.ModuleList, left_out: Sequence[bool]) -> Iterator[None]:
    """Let blocks give what they are given."""

    def instead(_: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        given = entering(args, kwargs)
        if first(output).shape != given.shape:
            raise _unfit("a layer changes the shape of what flows")
        return (given, *output[1:]) if isinstance(output, tuple | list) else given

    handles = [
        block.register_forward_hook(instead, with_kwargs=True)
        for block, out in zip(blocks, left_out, strict=True)
        if out
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unfit(why: str) -> ModelError:
    return ModelError(
        "E449",
        "the model has no layers that training could leave out",
        why=why,
        fix="leave out `layer-drop`",
    )
