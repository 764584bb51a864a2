"""How several processes train as one: each has its share of a batch, and their sums are one.

Weights are the same in all of them at any time; so are the order of samples and every decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from edgepack.errors import HostError


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


def accelerator(precision: str, log: str) -> Accelerator:
    """Return what knows the other processes, on the processor.

    Args:
        precision: ``float32`` or ``bf16``.
        log: folder for TensorBoard, or nothing.

    Raises:
        HostError: E325 when a log is asked for and tensorboard is missing.
    """
    # Without tensorboard, accelerate writes no log and says nothing.
    if log and find_spec("tensorboard") is None:
        raise _unlogged("tensorboard is not installed")
    # One process may train several times, each in its own precision.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=True,
        mixed_precision="bf16" if precision == "bf16" else "no",
        log_with="tensorboard" if log else None,
        project_dir=log or None,
    )


def open_log(crew: Accelerator, name: str) -> None:
    """Begin a log in the folder that `accelerator` was given.

    Raises:
        HostError: E325 when it cannot be written.
    """
    try:
        crew.init_trackers(name)
    except OSError as problem:
        raise _unlogged(str(problem)) from problem


def _unlogged(why: str) -> HostError:
    return HostError(
        "E325",
        "the training log cannot be written",
        why=why,
        fix="pip install tensorboard, name another folder, or leave out `log`",
    )
