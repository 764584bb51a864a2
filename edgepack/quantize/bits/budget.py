"""Widths layer by layer, so that a model takes no more bytes than it may.

All layers start at the widest; step by step, the one goes to its next width whose output errs
least for each byte that it saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepack.errors import ModelError


@dataclass(frozen=True)
class Choice:
    """A layer at a width: what it takes, and the error of its output relative to the output."""

    bits: int
    bytes: int
    error: float


def allotted(layers: Mapping[str, tuple[Choice, ...]], fixed: int, size: int) -> dict[str, Choice]:
    """Return a width for each layer.

    Args:
        layers: by layer, its choices, the widest first.
        fixed: bytes of all else.
        size: bytes that all may take.

    Raises:
        ModelError: E490 where the narrowest widths take more.
    """
    least = fixed + sum(min(choice.bytes for choice in choices) for choices in layers.values())
    if least > size:
        raise ModelError(
            "E490",
            f"the model cannot be stored in {size} bytes",
            why=f"at the fewest bits for each layer it takes {least} bytes",
            fix=f"allow size = {least}, or prune or distil the model before",
        )
    taken = {name: choices[0] for name, choices in layers.items()}
    total = fixed + sum(choice.bytes for choice in taken.values())
    while total > size:
        steps = [
            ((other.error - now.error) / (now.bytes - other.bytes), name, other)
            for name, now in taken.items()
            for other in layers[name]
            if other.bytes < now.bytes
        ]
        _, name, other = min(steps, key=lambda step: step[:2])
        total -= taken[name].bytes - other.bytes
        taken[name] = other
    return taken
