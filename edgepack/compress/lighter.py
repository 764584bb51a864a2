"""Replaces convolutions and activations, and fits convolutions to what they gave."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from edgepack.compress.batches import Batches
from edgepack.compress.layers import find
from edgepack.compress.names import fits, require_names
from edgepack.compress.replace import ReplaceBlocks, Replacements, Separated
from edgepack.compress.shown import shown
from edgepack.compress.swapped import calls, kind
from edgepack.errors import ModelError
from edgepack.model.edits import replay
from edgepack.model.matrices import CONVOLUTIONS
from edgepack.model.run import repeatable
from edgepack.types import Edit, Replace, Split

if TYPE_CHECKING:
    from edgepack.base import Context
    from edgepack.model import Model

TOGETHER = 32
"""Samples that go through the model at a time."""
STEADY = 1e-4
"""Share of the features' mean square that is added to each, so that few samples do no harm."""
LOST = 0.5
"""Relative error of a convolution's outputs from which accuracy will hardly hold by itself."""


def lighten(model: Model, options: ReplaceBlocks, context: Context) -> Model:
    """Return the model with lighter blocks; raises as `ReplaceBlocks.apply`."""
    names = [name for name, _ in model.module.named_modules() if name]
    require_names(options.keep, names, "keep")
    require_names(options.only, names, "only")
    spared: dict[str, str] = {}
    found = _convolutions(model, options, spared)
    swaps = _activations(model, options)
    edits: list[Edit] = [Replace(module=name, by="depthwise-separable") for name in found]
    edits += [Replace.model_validate({"module": n, "by": by}) for n, (_, by) in swaps.items()]
    functional_calls = calls(model, options.activations) if options.activations else {}
    if not edits:
        raise _nothing(spared, options, functional_calls)
    made = replay(model, edits)
    errors: dict[str, float] = {}
    if found and options.samples:
        errors = _fitted(model, made, list(found), options, context)
    decision = Replacements(
        convolutions={
            name: Separated(
                before=_count(layer),
                after=_count(made.module.get_submodule(name)),
                error=errors.get(name),
            )
            for name, layer in found.items()
        },
        activations=dict(Counter(f"{one} to {by}" for one, by in swaps.values())),
        functional=functional_calls,
        spared=spared,
    )
    context.events.decision(decision)
    _tell(decision, options, context)
    return made


def _convolutions(
    model: Model, options: ReplaceBlocks, spared: dict[str, str]
) -> dict[str, nn.Module]:
    """Return the convolutions that a separable one saves weights for; add reasons to `spared`."""
    layers = find(model.module, options.keep, whole=True)
    if not options.convolutions:
        return {}
    spared.update(
        (name, why)
        for name, why in layers.spared.items()
        if isinstance(model.module.get_submodule(name), nn.modules.conv._ConvNd)
    )
    found = {}
    for name, layer in layers.layers.items():
        if isinstance(layer, CONVOLUTIONS):
            if not _chosen(name, options):
                spared[name] = "not named under `only`"
            elif reason := _refusal(layer, options.channels):
                spared[name] = reason
            else:
                found[name] = layer
    return found


def _refusal(layer: nn.Module, channels: int) -> str:
    inputs, outputs, places = layer.in_channels, layer.out_channels, layer.weight[0, 0].numel()
    if layer.groups > 1:
        return "its channels form groups already"
    if places == 1:
        return "its kernel has a single place"
    if inputs < channels:
        return f"one kernel for each of {inputs} inputs is too few"
    if inputs * (places + outputs) >= inputs * outputs * places:
        return f"with {outputs} outputs nothing would be saved"
    if tuple(layer.kernel_size) == tuple(layer.stride):
        return "it cuts its input into patches, each seen once"
    return ""


def _activations(model: Model, options: ReplaceBlocks) -> dict[str, tuple[str, str]]:
    """Return name -> kind and block of the activations to swap."""
    wanted: dict[str, str] = {str(old): str(new) for old, new in options.activations.items()}
    return {
        name: (one, wanted[one])
        for name, module in model.module.named_modules()
        if (one := kind(module)) in wanted
        and _chosen(name, options)
        and not fits(name, options.keep)
    }


def _chosen(name: str, options: ReplaceBlocks) -> bool:
    return not options.only or fits(name, options.only)


def _fitted(
    before: Model, after: Model, names: list[str], options: ReplaceBlocks, context: Context
) -> dict[str, float]:
    """Fit mixes of channels in place, in the order that they run; return relative errors.

    Each is fed what the layers before it give by now, and fitted to what the old one gave from the
    old model's, so that it makes up for their errors as well.
    """
    splits: tuple[Split, ...] = ("calibration", "train")
    if not any(split in context.data for split in splits):
        context.events.note("no data to fit the new convolutions on: they start from the weights")
        return {}
    samples = shown(context, splits, "replace")
    data = Batches.of(before, samples, labelled=False, most=options.samples)
    errors: dict[str, float] = {}
    with repeatable(context.seed), torch.no_grad():
        order = _order(before, names, data)
        for place, name in enumerate(order):
            errors[name] = _fit(before, after, name, data)
            context.events.progress("replace", place + 1, len(order))
    return errors


def _order(model: Model, names: list[str], data: Batches) -> list[str]:
    """Return layers in the order in which they first run; those that do not run are left out."""
    seen: list[str] = []

    def hear(name: str) -> object:
        return model.module.get_submodule(name).register_forward_pre_hook(
            lambda *_: seen.append(name)
        )

    hooks = [hear(name) for name in names]
    model.module(*data.inputs([0]))
    for hook in hooks:
        hook.remove()  # type: ignore[attr-defined]
    return list(dict.fromkeys(seen))


def _fit(before: Model, after: Model, name: str, data: Batches) -> float:
    """Fit one mix of channels by ridge regression; return the relative error of the outputs.

    Raises:
        ModelError: E487 when features or outputs are not finite.
    """
    kernels, mix = after.module.get_submodule(name)
    outputs, channels = mix.weight.shape[:2]
    biased = mix.bias is not None
    size = channels + biased
    moment = torch.zeros(size, size, dtype=torch.float64)
    cross = torch.zeros(size, outputs, dtype=torch.float64)
    square = 0.0
    for inputs, _ in data.each(TOGETHER):
        features = _given(after.module, kernels, inputs)
        wanted = _given(before.module, before.module.get_submodule(name), inputs)
        if biased:
            features = functional.pad(features, (0, 1), value=1.0)
        moment += features.T @ features
        cross += features.T @ wanted
        square += float(wanted.square().sum())
    if not (torch.isfinite(moment).all() and torch.isfinite(cross).all()):
        raise _not_finite(name)
    ridge = STEADY * float(moment.diagonal().mean())
    old = mix.weight.flatten(1).T.double()
    if biased:
        old = torch.cat([old, mix.bias.double()[None]])
    # The ridge pulls towards the weights that are there, not towards none.
    steady = moment + max(ridge, 1e-12) * torch.eye(size, dtype=torch.float64)
    solved = torch.linalg.solve(steady, cross + max(ridge, 1e-12) * old)
    mix.weight.copy_(solved[:channels].T.reshape(mix.weight.shape))
    if biased:
        mix.bias.copy_(solved[channels])
    lost = square - 2 * float((solved * cross).sum()) + float((solved * (moment @ solved)).sum())
    return math.sqrt(max(0.0, lost) / max(square, 1e-30))


def _given(module: nn.Module, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return what a layer gives in a run [rows, channels], float64; all of its calls."""
    found: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, output: found.append(output))
    try:
        module(*inputs)
    finally:
        hook.remove()
    rows = [one.transpose(0, 1).flatten(1).T for one in found]
    return torch.cat(rows).double()


def _count(layer: nn.Module) -> int:
    return sum(p.numel() for p in layer.parameters())


def _tell(decision: Replacements, options: ReplaceBlocks, context: Context) -> None:
    note = context.events.note
    errors = [one.error for one in decision.convolutions.values() if one.error is not None]
    if bad := sum(error > LOST for error in errors):
        note(
            f"{bad} of {len(errors)} separable convolutions lose more than {100 * LOST:.0f} % of "
            "their outputs: let `finetune` follow, with `distil`"
        )
    if options.convolutions and not decision.convolutions:
        reasons = "; ".join(list(decision.spared.values())[:3])
        note(f"no convolution was replaced: {reasons or 'the model has none'}")
    for one, count in decision.functional.items():
        note(f"`{one}` is called as a function {count} times, in the model's code: those stay")
    if decision.activations:
        note(
            "other activations change neither parameters nor multiply-adds; what they gain shows "
            "in latency alone, and what they cost is for `finetune` to win back"
        )
    for one in options.activations:
        if not any(told.startswith(f"{one} ") for told in decision.activations):
            note(f"no `{one}` was found as a module")


def _nothing(
    spared: Mapping[str, str], options: ReplaceBlocks, functional_calls: Mapping[str, int]
) -> ModelError:
    reasons = [f"{name}: {why}" for name, why in list(spared.items())[:3]]
    reasons += [f"`{n}` is only called as a function" for n in functional_calls]
    wanted = [*options.activations, *(["convolution"] if options.convolutions else [])]
    return ModelError(
        "E486",
        "there is nothing to replace",
        why="; ".join(reasons) or f"no {' or '.join(wanted)} was found",
        fix="name other layers under `only`, lower `channels`, or leave out `replace`",
    )


def _not_finite(name: str) -> ModelError:
    return ModelError(
        "E487",
        f"`{name}` cannot be fitted",
        why="what it is fed or gives is not finite on the samples",
        fix="look for NaN, infinite or huge values in the data and the model",
    )
