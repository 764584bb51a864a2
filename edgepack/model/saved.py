"""Saves and loads a model without pickle: edits as JSON, weights as safetensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from edgepack.errors import ModelError
from edgepack.model.edits import replay
from edgepack.types import Edit, Frozen, Grid, TensorSpec

if TYPE_CHECKING:
    import torch

    from edgepack.model import Model


class _Card(Frozen):
    """What ``model.json`` holds; `tied` names weights that are another's memory."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    edits: tuple[Edit, ...]
    tied: dict[str, str]
    grids: dict[str, Grid] = {}


def save(model: Model, folder: Path) -> None:
    """Write ``model.json`` and ``weights.safetensors``; tied weights are written once."""
    first: dict[object, str] = {}
    tied: dict[str, str] = {}
    kept: dict[str, torch.Tensor] = {}
    for name, tensor in sorted(model.module.state_dict().items()):
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and (other := first.setdefault(place, name)) != name:
            tied[name] = other
        else:
            # Views of one memory are no error here: each is written whole.
            kept[name] = tensor.detach().cpu().clone().contiguous()
    card = _Card(
        inputs=model.inputs,
        outputs=model.outputs,
        edits=model.edits,
        tied=tied,
        grids=dict(model.grids),
    )
    save_file(kept, folder / "weights.safetensors")
    (folder / "model.json").write_text(card.model_dump_json())


def load(folder: Path, source: Callable[[str], Model]) -> Model:
    """Replay the saved edits on a fresh model and fill in the saved weights.

    Args:
        folder: where `save` wrote.
        source: gives the fresh model; asked with a student's reference where the first edit is one.

    Raises:
        ModelError: E430 naming the first difference.
    """
    card = _Card.model_validate_json((folder / "model.json").read_bytes())
    student = card.edits[0] if card.edits and card.edits[0].kind == "student" else None
    fresh = source(student.source if student else "")
    if fresh.inputs != card.inputs:
        now, then = "; ".join(map(str, fresh.inputs)), "; ".join(map(str, card.inputs))
        raise _changed(f"it takes {now}, and took {then}")
    model = replay(fresh.copy(), card.edits[1:] if student else card.edits)
    weights = load_file(folder / "weights.safetensors")
    weights.update({name: weights[other] for name, other in card.tied.items()})
    if difference := _first_difference(weights, model.module.state_dict()):
        raise _changed(difference)
    model.module.load_state_dict(weights)
    model.module.eval()
    return replace(model, outputs=card.outputs, edits=card.edits, grids=card.grids)


def _first_difference(saved: Mapping[str, torch.Tensor], fresh: Mapping[str, torch.Tensor]) -> str:
    """Say in which weight two models differ first, or nothing."""
    for name in sorted({*saved, *fresh}):
        if name not in fresh:
            return f"it has no `{name}` any more"
        if name not in saved:
            return f"it has `{name}`, which is new"
        now, then = fresh[name], saved[name]
        if now.shape != then.shape or now.dtype != then.dtype:
            return (
                f"`{name}` is {now.dtype} {list(now.shape)}, and was {then.dtype} "
                f"{list(then.shape)}"
            )
    return ""


def _changed(why: str) -> ModelError:
    return ModelError(
        "E430",
        "the source gives another model than the one that was saved",
        why=why,
        fix="let the factory give the same names and shapes each time, or build with --fresh",
    )
