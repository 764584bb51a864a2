"""Activations by kind: modules that can be replaced, and calls that cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from edgepack.model import Model

MODULES = {
    "gelu": {
        "GELU",
        "GELUActivation",
        "NewGELUActivation",
        "FastGELUActivation",
        "QuickGELUActivation",
        "AccurateGELUActivation",
        "ClippedGELUActivation",
        "PytorchGELUTanh",
        "GELUTanh",
        "SparseGELUActivation",
    },
    "silu": {"SiLU", "SiLUActivation"},
}
"""Names of classes, of torch and of transformers, which is not loaded for it."""
CALLS = {functional.gelu: "gelu", functional.silu: "silu"}


def kind(module: nn.Module) -> str:
    """Return which activation a module is; nothing for any other module."""
    name = type(module).__name__
    return next((one for one, names in MODULES.items() if name in names), "")


def calls(model: Model, kinds: Collection[str]) -> dict[str, int]:
    """Return how often each kind of activation is called outside of a module of that kind."""
    inside = [0]
    found: Counter[str] = Counter()

    class Listen(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self,
            function: Callable[..., Any],
            types: Any,
            args: Any = (),
            kwargs: Any = None,
        ) -> Any:
            if (one := CALLS.get(function)) in kinds and not inside[0]:
                found[str(one)] += 1
            return function(*args, **(kwargs or {}))

    def enter(*_: Any) -> None:
        inside[0] += 1

    def leave(*_: Any) -> None:
        inside[0] -= 1

    hooks = []
    for module in model.module.modules():
        if kind(module):
            hooks.append(module.register_forward_pre_hook(enter))
            hooks.append(module.register_forward_hook(leave))
    try:
        with Listen():
            model.run(model.example)
    finally:
        for hook in hooks:
            hook.remove()
    return dict(found)
