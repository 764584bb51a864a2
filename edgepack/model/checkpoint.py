"""Checkpoints of a training: what a killed run goes on from, exactly.

    FOLDER/last/tensors.safetensors   weights, the optimiser's state, the generators' states
    FOLDER/last/state.json            the step, the order of samples, losses, a digest of all
    FOLDER/best/tensors.safetensors   the weights of the best epoch so far, where one is judged

No pickle. A checkpoint appears whole or not at all; one that is damaged is left with a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from edgepack import publish
from edgepack.types import digest_of, file_digest

TENSORS, STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True)
class Found:
    """What a checkpoint holds.

    Attributes:
        tensors: by what they are and their name.
        state: what JSON held.
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]

    def named(self, kind: str) -> dict[str, torch.Tensor]:
        """Return the tensors of one kind, by name."""
        return {k.removeprefix(kind): v for k, v in self.tensors.items() if k.startswith(kind)}


class Checkpoint:
    """One training's checkpoints in one folder.

    Args:
        folder: made when the first checkpoint is written.
        module: whose weights are kept; `fill` fills them in.
        optimizer: whose state is kept with them.
        note: told when a checkpoint is damaged.
    """

    def __init__(
        self,
        folder: Path,
        module: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        note: Callable[[str], None],
    ) -> None:
        self._folder, self._module, self._optimizer, self._note = folder, module, optimizer, note

    def write(self, state: dict[str, Any], generators: Mapping[str, torch.Tensor]) -> None:
        """Keep weights, optimiser, generators, and a state that JSON can hold."""
        tensors = {f"weight {k}": v for k, v in self._module.state_dict().items()}
        for place, kept in self._optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer {place} {key}": torch.as_tensor(value) for key, value in kept.items()
            }
        tensors |= {f"generator {name}": drawn for name, drawn in generators.items()}
        self._put("last", tensors, state)

    def read(self) -> Found | None:
        """Return what `write` kept last; None, with a note, where it is damaged."""
        try:
            found = self._get("last")
            if found and found.state["trained"]["held"] and not self._get("best"):
                raise ValueError("the best weights are gone")
        except (OSError, ValueError, LookupError, TypeError, SafetensorError) as problem:
            self._note(
                f"the checkpoint is damaged ({type(problem).__name__}); training begins anew"
            )
            return None
        return found

    def fill(self, found: Found) -> None:
        """Fill in weights and the optimiser's state."""
        self._module.load_state_dict(found.named("weight "))
        kept: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in found.named("optimizer ").items():
            place, key = name.split(" ")
            kept.setdefault(int(place), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": kept, "param_groups": groups})

    def write_best(self) -> None:
        """Keep the weights alone, as those of the best epoch."""
        self._put("best", dict(self._module.state_dict()), {})

    def restore_best(self) -> None:
        """Fill in the weights of the best epoch."""
        found = self._get("best")
        assert found is not None
        self._module.load_state_dict(found.tensors)

    def _put(self, name: str, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Tied weights are written once for each of their names.
        plain = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        with publish.folder(self._folder / name) as stage:
            save_file(plain, stage / TENSORS)
            told = {"digest": digest_of(file_digest(stage / TENSORS), state), "state": state}
            (stage / STATE).write_text(json.dumps(told))

    def _get(self, name: str) -> Found | None:
        folder = self._folder / name
        if not folder.is_dir():
            return None
        told = json.loads((folder / STATE).read_bytes())
        if told["digest"] != digest_of(file_digest(folder / TENSORS), told["state"]):
            raise ValueError("it is not what was written")
        return Found(load_file(folder / TENSORS), told["state"])
