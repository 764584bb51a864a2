"""What a model is fed beside the data: the state that it hands itself, and constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edgepack.errors import UsageError, did_you_mean
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.types import Array


@dataclass(frozen=True)
class Feeds:
    """A model's inputs, and which of them the data need not give.

    Attributes:
        inputs: gives the inputs; asked once, when they are needed.
        state: input -> output of the run before.
        constants: input -> the number that every run is fed.
        where: the data's reference, for messages.
    """

    inputs: Callable[[], tuple[TensorSpec, ...]]
    state: dict[str, str]
    constants: Mapping[str, bool | int | float]
    where: str

    @cached_property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All inputs, in the model's order.

        Raises:
            UsageError: E298 where state or constants name no input, or one of them both.
        """
        specs = self.inputs()
        names = [spec.name for spec in specs]
        for key, table in (("model.state", self.state), ("data.constants", self.constants)):
            for name in table:
                if name not in names:
                    raise _strange(key, name, did_you_mean(name, names), self.where)
        for spec in specs:
            value = self.constants.get(spec.name)
            if value is not None and not _holds(spec.dtype, value):
                fix = f"the model takes {spec.dtype}"
                raise _strange("data.constants", spec.name, fix, self.where)
        if both := sorted(self.state.keys() & self.constants.keys()):
            raise _strange("data.constants", both[0], "it is under [model] state", self.where)
        return specs

    @cached_property
    def usual(self) -> dict[str, Array]:
        """What inputs are fed that a sample does not name: zeros for state, and the constants."""
        return {
            spec.name: np.full(
                [n if isinstance(n, int) else 1 for n in spec.shape],
                self.constants.get(spec.name, 0),
                spec.dtype,
            )
            for spec in self.specs
            if spec.name in self.state or spec.name in self.constants
        }

    def free(self) -> tuple[TensorSpec, ...]:
        """Return the inputs that only the data can give."""
        return tuple(spec for spec in self.specs if spec.name not in self.usual)


def _holds(dtype: str, value: float) -> bool:
    if dtype.startswith("float"):
        return True
    return dtype != "string" and bool(np.array(value).astype(dtype) == value)


def _strange(key: str, name: str, fix: str, where: str) -> UsageError:
    return UsageError(
        "E298", f"`{name}` under {key} is no input that can be fed so", where=where, fix=fix
    )
