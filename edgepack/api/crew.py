"""Several processes that build one recipe together, as `accelerate launch -m edgepack` starts them.

Only training is shared work. All processes walk through the steps on the torch model side by side;
then the first goes on alone, and the others are done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState


@dataclass(frozen=True)
class Crew:
    """What this process knows of the others.

    Attributes:
        rank: its number.
        size: how many there are.
        local: its number on its machine.
    """

    rank: int
    size: int
    local: int

    @classmethod
    def of(cls) -> Crew:
        """Return what the launcher has written into the environment; one process without it."""
        number = {
            key: int(os.environ.get(key, "0")) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        }
        return cls(number["RANK"], max(1, number["WORLD_SIZE"]), number["LOCAL_RANK"])

    @property
    def follows(self) -> bool:
        """Whether another process leads: this one writes nothing and says nothing."""
        return self.rank > 0

    @property
    def keeps(self) -> bool:
        """Whether this process writes to its machine's cache."""
        return self.local == 0

    def all(self, flag: bool) -> bool:
        """Return whether every process says so; all of them must ask."""
        if self.size == 1:
            return flag
        import torch
        from accelerate.utils import reduce

        _ = self._state
        told = reduce(torch.tensor([float(flag)]), "sum")
        return int(told.item()) == self.size

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            self._state.wait_for_everyone()

    @cached_property
    def _state(self) -> PartialState:
        from accelerate import PartialState

        return PartialState(cpu=True)
