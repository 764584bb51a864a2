"""Finds what of a model is quantised: weights, and the points between layers."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgepack.compress.objective import first
from edgepack.errors import ModelError
from edgepack.model.matrices import CONVOLUTIONS, is_matrix, is_transposed
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.model import Model

CLIPS = (nn.ReLU, nn.ReLU6, nn.Hardtanh)
"""Go into the rounding that follows them: the runtime computes them for nothing."""
KEEPS = (nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity, nn.Unflatten)
"""Give what they take, or some of it: what is at levels stays there."""
Point = tuple[str, Literal["in", "out"]]


class Places(Frozen):
    """What is quantised of a model.

    Attributes:
        layers: whose weights are, in the order in which they run.
        norms: the batch norm right behind a layer, by the layer's name.
        points: modules, and whether what they take or give is rounded.
        fed: the point on whose levels that lies what a layer takes, by the layer's name.
        left: layers that stay float, and why.
    """

    layers: tuple[str, ...]
    norms: dict[str, str]
    points: tuple[Point, ...]
    fed: dict[str, Point]
    left: dict[str, str]


def axis_of(layer: nn.Module) -> int:
    """Return the axis of a layer's weight that its outputs lie along."""
    return 1 if is_transposed(layer) else 0


def find(model: Model, keep: Sequence[str]) -> Places:
    """Follow one run of the model through its modules.

    1. Weights of linear layers and convolutions are quantised, but shared ones.
    2. A batch norm that alone reads a layer's output belongs to the layer.
    3. What a convolution gives is rounded, after the ReLU that alone reads it, so that its sums
       never leave the integers.
    4. What a layer takes is rounded where it is not already.

    Raises:
        ModelError: E479 when no layer is left.
    """
    runs = _runs(model)
    names = {id(module): name for name, module in model.module.named_modules()}
    left = _left(model.module, runs, keep)
    chosen = [run for run in runs if is_matrix(run.module) and names[id(run.module)] not in left]
    if not chosen:
        raise _nothing(left)
    norms: dict[str, str] = {}
    fed: dict[str, Point] = {}
    points: list[Point] = []
    rounded: list[tuple[torch.Tensor, Point]] = []
    for run in runs:
        name = names[id(run.module)]
        before = next((point for tensor, point in rounded if tensor is run.taken), None)
        if isinstance(run.module, KEEPS) and before is not None:
            rounded.append((run.given, before))
        if run not in chosen:
            continue
        if before is None:
            points.append((name, "in"))
        fed[name] = before or (name, "in")
        end = run
        norm = _only_reader(run, runs)
        if norm is not None and _folds(run, norm, runs):
            norms[name], end = names[id(norm.module)], norm
        if isinstance(run.module, CONVOLUTIONS):
            clip = _only_reader(end, runs)
            end = clip if clip is not None and isinstance(clip.module, CLIPS) else end
            points.append((names[id(end.module)], "out"))
            rounded.append((end.given, points[-1]))
    layers = tuple(dict.fromkeys(names[id(run.module)] for run in chosen))
    distinct = tuple(dict.fromkeys(points))
    return Places(layers=layers, norms=norms, points=distinct, fed=fed, left=left)


class _Run:
    """One call of a module: what it took, and what it gave."""

    def __init__(self, module: nn.Module, taken: torch.Tensor, given: torch.Tensor) -> None:
        self.module, self.taken, self.given = module, taken, given


def _runs(model: Model) -> list[_Run]:
    """Run the example, and keep each call of a module without parts."""
    found: list[_Run] = []

    def seen(module: nn.Module, args: tuple[object, ...], given: object) -> None:
        taken = args[0] if args else None
        given = first(given) if isinstance(given, tuple | list | torch.Tensor) else None
        if isinstance(taken, torch.Tensor) and isinstance(given, torch.Tensor):
            found.append(_Run(module, taken, given))

    leaves = [module for module in model.module.modules() if not list(module.children())]
    handles = [module.register_forward_hook(seen) for module in leaves]
    try:
        model.run(model.example)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _only_reader(run: _Run, runs: Sequence[_Run]) -> _Run | None:
    """Return the call that alone takes what a call gave; modules that do nothing do not count."""
    later = runs[runs.index(run) + 1 :]
    readers = [
        one
        for one in later
        if one.taken is run.given and not isinstance(one.module, nn.Identity | nn.Dropout)
    ]
    # Modules that work in place give the very tensor that they took.
    return readers[0] if readers and (len(readers) == 1 or readers[0].given is run.given) else None


def _folds(run: _Run, norm: _Run, runs: Sequence[_Run]) -> bool:
    """Whether a call is a batch norm that can go into the layer before it."""
    once = all(sum(one.module is m for one in runs) == 1 for m in (run.module, norm.module))
    return (
        once
        and isinstance(norm.module, _BatchNorm)
        and norm.module.running_mean is not None
        and not is_transposed(run.module)
        and run.module.weight.shape[0] == norm.module.num_features
        and (not isinstance(run.module, nn.Linear) or run.given.dim() == 2)
    )


def _left(root: nn.Module, runs: Sequence[_Run], keep: Sequence[str]) -> dict[str, str]:
    """Say of each layer that stays float why."""
    owners: dict[int, int] = {}
    for module in root.modules():
        for parameter in module._parameters.values():
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    ran = {id(run.module) for run in runs}
    left = {}
    for name, module in root.named_modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            left[name] = f"the steps of a {type(module).__name__} are not seen from outside"
        elif isinstance(module, nn.modules.conv._ConvTransposeNd | nn.Conv3d):
            left[name] = f"{type(module).__name__} is not among the layers that are trained so"
        elif not is_matrix(module):
            continue
        elif any(fnmatch(name, pattern) for pattern in keep):
            left[name] = "the recipe keeps it"
        elif id(module) not in ran:
            left[name] = "the example does not run through it"
        elif owners[id(module.weight)] > 1:
            left[name] = "it shares its weight with another layer"
    return left


def _nothing(left: dict[str, str]) -> ModelError:
    why = "; ".join(f"`{name}`: {reason}" for name, reason in list(left.items())[:3])
    return ModelError(
        "E479",
        "no layer of the model can be trained with fewer levels",
        why=why or "it has neither linear layers nor convolutions",
        fix="leave out `qat`, and quantise after training",
    )
