"""Checkpoints of a training: what a killed run goes on from, exactly.

    FOLDER/last/tensors.safetensors   weights, the optimiser's state, torch's generator
    FOLDER/last/state.json            the step, the order of samples, losses, the tensors' digest
    FOLDER/best/tensors.safetensors   the weights of the best epoch so far, where one is judged

No pickle. A checkpoint appears whole or not at all; one that is damaged is left with a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from edgepack import publish
from edgepack.types import file_digest

TENSORS, STATE = "tensors.safetensors", "state.json"


class Checkpoint:
    """One training's checkpoints in one folder.

    Args:
        folder: made when the first checkpoint is written.
        module: whose weights are kept; `read` fills them in.
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

    def step(self) -> int:
        """Return the step that was kept last; 0 where none can be read."""
        try:
            told = json.loads((self._folder / "last" / STATE).read_bytes())
            return int(told["state"]["step"])
        except (OSError, ValueError, LookupError, TypeError):
            return 0

    def write(self, state: dict[str, Any]) -> None:
        """Keep weights, optimiser, generator, and a state that JSON can hold."""
        tensors = {f"weight {k}": v for k, v in self._module.state_dict().items()}
        for place, kept in self._optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer {place} {key}": torch.as_tensor(value) for key, value in kept.items()
            }
        tensors["generator"] = torch.get_rng_state()
        self._put("last", tensors, state)

    def read(self) -> dict[str, Any] | None:
        """Fill in what `write` kept last and return its state; None where there is none."""
        try:
            found = self._get("last")
            if found is None:
                return None
            tensors, state = found
            self._module.load_state_dict(
                {k.removeprefix("weight "): v for k, v in tensors.items() if k.startswith("weight")}
            )
            kept: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith("optimizer"):
                    _, place, key = name.split(" ")
                    kept.setdefault(int(place), {})[key] = tensor
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": kept, "param_groups": groups})
            torch.set_rng_state(tensors["generator"])
        except (OSError, ValueError, LookupError, RuntimeError) as problem:
            self._note(
                f"the checkpoint is damaged ({type(problem).__name__}); training begins anew"
            )
            return None
        return state

    def write_best(self) -> None:
        """Keep the weights alone, as those of the best epoch."""
        self._put("best", dict(self._module.state_dict()), {})

    def restore_best(self) -> None:
        """Fill in the weights of the best epoch."""
        found = self._get("best")
        assert found is not None
        self._module.load_state_dict(found[0])

    def _put(self, name: str, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Tied weights are written once for each of their names.
        plain = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        with publish.folder(self._folder / name) as stage:
            save_file(plain, stage / TENSORS)
            told = {"digest": file_digest(stage / TENSORS), "state": state}
            (stage / STATE).write_text(json.dumps(told))

    def _get(self, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        folder = self._folder / name
        if not folder.is_dir():
            return None
        told = json.loads((folder / STATE).read_bytes())
        if told["digest"] != file_digest(folder / TENSORS):
            raise ValueError("its tensors changed")
        return load_file(folder / TENSORS), told["state"]
