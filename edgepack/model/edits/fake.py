"""Has modules take or give 256 levels alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from edgepack.model.edits.place import at

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Fake

MOST = 255


class Rounded:
    """A hook that rounds what a module takes, or gives, to levels; exported as Q/DQ pair."""

    def __init__(self, scale: float, zero: int) -> None:
        self.scale, self.zero = scale, zero

    def __call__(self, module: torch.nn.Module, args: Any, given: Any = None) -> Any:
        """Return the module's first input, the others behind it, or its output, rounded."""
        if given is None:
            return self.levels(args[0]), *args[1:]
        return self.levels(given)

    def levels(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor with each number at the nearest level."""
        return torch.fake_quantize_per_tensor_affine(tensor, self.scale, self.zero, 0, MOST)


def edit(model: Model, fakes: Sequence[Fake]) -> None:
    """Hook the rounding onto modules, in place.

    Raises:
        ModelError: E429 when a module is missing.
    """
    _let_trace()
    for fake in fakes:
        module, rounded = at(model.module, fake.module), Rounded(fake.scale, fake.zero)
        if fake.side == "in":
            module.register_forward_pre_hook(rounded)
        else:
            module.register_forward_hook(rounded)


def _let_trace() -> None:
    """Tell torch what shape rounding gives: without, it cannot be exported (torch 2.13)."""
    name = "aten::fake_quantize_per_tensor_affine_cachemask"
    if torch._C._dispatch_has_kernel_for_dispatch_key(name, "Meta"):
        return

    @torch.library.register_fake(name)  # type: ignore[untyped-decorator]
    def shaped(tensor: torch.Tensor, *_: float) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.empty_like(tensor), torch.empty_like(tensor, dtype=torch.bool)
