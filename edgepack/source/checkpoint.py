"""Reads pickled checkpoints, in a child process and without running what they hold."""

from __future__ import annotations

from pathlib import Path


def convert(paths: list[str], to: str) -> int:
    """Write the tensors of ``.bin`` files as one safetensors file; returns how many there are.

    Raises:
        ValueError: when a file holds anything but tensors by name.
        pickle.UnpicklingError: when it asks for anything to be run or built.
    """
    import torch
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        held = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(held, dict) or not all(torch.is_tensor(t) for t in held.values()):
            raise ValueError(f"{Path(path).name} holds more than tensors by name")
        tensors |= {str(name): tensor.clone().contiguous() for name, tensor in held.items()}
    save_file(tensors, to, metadata={"format": "pt"})
    return len(tensors)
