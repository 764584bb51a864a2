"""How several processes train as one: each has its share of a batch, then what they found is summed.

Weights are the same in all of them at any time; so are the order of samples and every decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator


class Shares:
    """What one process has to do with the others; alone it does nothing.

    Args:
        crew: knows the others.
    """

    def __init__(self, crew: Accelerator) -> None:
        self._crew = crew

    @property
    def size(self) -> int:
        """How many processes there are."""
        return int(self._crew.num_processes)

    def mine(self, places: Sequence[int]) -> Sequence[int]:
        """Return this process's part of some samples."""
        return places[self._crew.process_index :: self.size]

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum over the processes."""
        return self._crew.reduce(value, "sum") if self.size > 1 else value

    def agree(self, number: int) -> bool:
        """Whether every process names the same number."""
        return len(set(self._crew.gather(torch.tensor([number])).tolist())) == 1

    def seed(self) -> None:
        """Let every process draw noise, such as dropout's, of its own."""
        torch.manual_seed(torch.initial_seed() + 1 + self._crew.process_index)

    def noises(self) -> torch.Tensor:
        """Return the state [processes, bytes] of each one's generator."""
        return self._crew.gather(torch.get_rng_state()[None])

    def take_noise(self, states: torch.Tensor) -> None:
        """Take up this process's row of what `noises` gave."""
        torch.set_rng_state(states[self._crew.process_index].clone())

    def gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Sum gradients; a parameter that no process has one for keeps none."""
        if self.size == 1:
            return
        with torch.no_grad():
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            known = torch.tensor([float(p.grad is not None) for p in parameters])
            flat = self.sum(torch.cat([*(g.reshape(-1) for g in grads), known]))
            *parts, known = flat.split([*(g.numel() for g in grads), len(known)])
            for parameter, part, used in zip(parameters, parts, known.tolist(), strict=True):
                parameter.grad = part.view_as(parameter).clone() if used else None

    def buffers(self, module: torch.nn.Module) -> None:
        """Average what layers such as batch norms saw."""
        if self.size == 1:
            return
        with torch.no_grad():
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self._crew.reduce(buffer, "mean"))
