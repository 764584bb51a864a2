"""Where a module hangs in another, and putting another one there."""

from __future__ import annotations

import torch

from edgepack.errors import ModelError


def at(root: torch.nn.Module, name: str) -> torch.nn.Module:
    """Return the module of that name.

    Raises:
        ModelError: E429 when there is none.
    """
    try:
        return root.get_submodule(name)
    except AttributeError as problem:
        raise misfit(name, str(problem)) from problem


def put(root: torch.nn.Module, name: str, module: torch.nn.Module) -> None:
    """Put a module in the place of the one of that name, wherever the old one hangs.

    A module that is shared hangs in several places; all of them receive the new one.

    Raises:
        ModelError: E429 when there is none of that name.
    """
    old = at(root, name)
    for parent in list(root.modules()):
        for key, child in list(parent._modules.items()):
            if child is old:
                parent.add_module(key, module)


def misfit(name: str, why: str) -> ModelError:
    """Say that an edit does not fit the module that it names."""
    return ModelError(
        "E429",
        f"the structure of `{name}` cannot be changed",
        why=why,
        fix="build again with --fresh; the model's code may have changed",
    )
