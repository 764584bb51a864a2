"""Scores attention heads, and decides which go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from edgepack.compress.batches import Batches
from edgepack.compress.growth import compensated
from edgepack.compress.heads import HeadPruning, PrunedAttention, PruneHeads
from edgepack.compress.names import fits, require_names
from edgepack.compress.objective import first, loss
from edgepack.compress.shown import shown
from edgepack.errors import ModelError
from edgepack.model.attention import Attention, attentions_of
from edgepack.model.edits import replay
from edgepack.model.edits.heads import places
from edgepack.model.matrices import is_transposed
from edgepack.model.run import repeatable
from edgepack.types import Heads

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

FEW = 64
"""Samples below which the order of heads is mostly theirs, and not the task's."""
HARDLY = 0.95
"""Share of the multiply-adds left above which nothing is noticed of it."""
CLOSE = 1e-4
"""Difference of outputs, relative to the largest, that the order of sums may make."""


def pruned(model: Model, options: PruneHeads, context: Context) -> Model:
    """Return the model without the heads that matter least; see `PruneHeads`."""
    found = attentions_of(model.module)
    if not found:
        raise _nothing("no module has queries, keys, values and a layer that joins heads")
    require_names(options.keep, [one.name for one in found], "keep")
    some = [one for one in found if one.groups > 1 and not fits(one.name, options.keep)]
    with repeatable(context.seed):
        scores = _scores(model, some, options, context)
    gone = chosen(scores, options.ratio, options.scope)
    cuts = tuple(
        Heads(module=one.name, indices=tuple(sorted(indices)))
        for one, indices in zip(some, gone, strict=True)
        if indices
    )
    if not cuts:
        raise _nothing("each layer keeps one head, and the ratio leaves all that there are")
    decision = HeadPruning(
        layers={
            one.name: PrunedAttention(before=one.groups, after=one.groups - len(indices))
            for one, indices in zip(some, gone, strict=True)
        },
        cuts=cuts,
    )
    context.events.decision(decision)
    made = _cut(model, some, cuts)
    _note(model, made, some, gone, options, context)
    return compensated(made, model, options.compensate, context) if options.compensate else made


def _cut(model: Model, found: Sequence[Attention], cuts: Sequence[Heads]) -> Model:
    """Return the model without heads, once it is seen to answer as with their gates shut."""
    try:
        made = replay(model, cuts)
    except ModelError as problem:
        if problem.code != "E433":
            raise
        raise _bound(problem.why) from problem
    gates = {one.name: torch.ones(one.groups) for one in found}
    for cut in cuts:
        gates[cut.module][list(cut.indices)] = 0
    with gated(model.module, found, list(gates.values())):
        wanted = model.run(model.example)
    given = made.run(model.example)
    for name, one in wanted.items():
        if not np.allclose(one, given[name], rtol=0, atol=CLOSE * max(1.0, np.abs(one).max())):
            raise _bound(f"without them `{name}` is not what it is when they give nothing")
    return made


def _note(
    before: Model,
    after: Model,
    found: Sequence[Attention],
    gone: Sequence[Sequence[int]],
    options: PruneHeads,
    context: Context,
) -> None:
    """Say where pruning heads does not suit, or gains less than it seems."""
    heads, removed = sum(one.groups for one in found), sum(len(indices) for indices in gone)
    if options.scope == "global" and removed < round(options.ratio * heads):
        context.events.note(
            f"{removed} of {heads} heads are removed, fewer than asked: each layer keeps one"
        )
    was, now = before.facts()["multiply_adds"], after.facts()["multiply_adds"]
    if not options.compensate and now > HARDLY * was:
        context.events.note(
            f"{now / was:.0%} of the multiply-adds are left: do not expect a lower latency"
        )


def chosen(scores: Sequence[torch.Tensor], ratio: float, scope: str) -> list[list[int]]:
    """Return which heads of each layer go; one of each stays.

    Args:
        scores: how much each head matters [heads], a tensor a layer.
        ratio: share of the heads to go.
        scope: ``layer`` or ``global``.
    """
    if scope == "layer":
        return [
            torch.argsort(s, stable=True)[: min(len(s) - 1, round(ratio * len(s)))].tolist()
            for s in scores
        ]
    # A gate means the same in every layer, so scores are compared as they are: evened out by layer,
    # as the paper does, half of a small transformer's heads cost ten times as much accuracy.
    ranked = sorted((float(v), i, j) for i, s in enumerate(scores) for j, v in enumerate(s))
    gone: list[list[int]] = [[] for _ in scores]
    left = round(ratio * len(ranked))
    for _, layer, head in ranked:
        if left and len(gone[layer]) < len(scores[layer]) - 1:
            gone[layer].append(head)
            left -= 1
    return gone


def _scores(
    model: Model, found: Sequence[Attention], options: PruneHeads, context: Context
) -> list[torch.Tensor]:
    if options.criterion == "random":
        return [torch.rand(one.groups) for one in found]
    if options.criterion == "l2":
        return [_length(model.module, one) for one in found]
    samples = shown(context, ("train",), "gradient")
    data = Batches.of(model, samples, labelled=False, most=options.samples)
    if len(data) < FEW:
        context.events.note(f"{len(data)} samples judge the heads: too few to tell them apart well")
    return gradients(model, found, data, context.events.progress)


def gradients(
    model: Model,
    found: Sequence[Attention],
    data: Batches,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[torch.Tensor]:
    """Return how much the loss changes with each head's gate [heads], summed over the samples.

    The gradient is taken sample by sample, so that signs of different samples do not cancel.
    """
    module = model.copy().module
    gates = [torch.ones(one.groups, requires_grad=True) for one in found]
    total = [torch.zeros(one.groups) for one in found]
    with gated(module, found, gates), torch.enable_grad():
        for place in range(len(data)):
            value = loss(first(module(*data.inputs([place]))), data, [place])
            for kept, grad in zip(total, torch.autograd.grad(value, gates), strict=True):
                kept += grad.abs()
            progress("score heads", place + 1, len(data))
    return total


@contextmanager
def gated(
    module: nn.Module, found: Sequence[Attention], gates: Sequence[torch.Tensor]
) -> Iterator[None]:
    """Multiply what each head gives by its gate, before heads are joined."""

    def hook(one: Attention, gate: torch.Tensor) -> Callable[..., tuple[torch.Tensor, ...]]:
        share = one.heads // one.groups * one.width

        def scale(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (inputs[0] * gate.repeat_interleave(share), *inputs[1:])

        return scale

    handles = [
        module.get_submodule(one.joining).register_forward_pre_hook(hook(one, gate))
        for one, gate in zip(found, gates, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _length(module: nn.Module, one: Attention) -> torch.Tensor:
    """Return the length of each head's weights [heads]."""
    total = torch.zeros(one.groups)
    for group in range(one.groups):
        others = set(range(one.groups)) - {group}
        asked, read = places(one, others)
        joining = module.get_submodule(one.joining)
        columns = joining.weight if is_transposed(joining) else joining.weight.T
        parts = [columns[asked]]
        for name, rows in ((one.queries, asked), (one.keys, read), (one.values, read)):
            layer = module.get_submodule(name)
            weights = layer.weight.T if is_transposed(layer) else layer.weight
            parts.append(weights[rows])
        total[group] = sum(float(part.detach().square().sum()) for part in parts) ** 0.5
    return total


def _bound(why: str) -> ModelError:
    return _nothing(f"{why}; the model counts heads elsewhere, as in a position bias of all layers")


def _nothing(why: str) -> ModelError:
    return ModelError(
        "E467",
        "no attention heads can be pruned",
        why=why,
        fix="raise `ratio`, spare fewer layers, or leave out `prune-heads`",
    )
