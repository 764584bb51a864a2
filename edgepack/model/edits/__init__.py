"""Replays edits: the one way in which a module's structure changes; one kind of edit a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING

from edgepack.model.run import measure_outputs

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Edit


def replay(model: Model, edits: Sequence[Edit]) -> Model:
    """Return a copy of a model after the edits; the same edits always give the same structure.

    Each kind of edit has a module of its name beside this one, whose ``edit`` takes the model, to
    change it in place, and all edits of that kind that follow each other.

    Raises:
        ModelError: E431 when the module cannot be traced, E429 or E432 when an edit does not fit
            it, E433 when it no longer runs.
    """
    if not edits:
        return model
    ours = model.copy()
    for kind, run in groupby(edits, lambda edit: edit.kind):
        import_module(f"edgepack.model.edits.{kind}").edit(ours, list(run))
    ours.module.eval()
    names = tuple(spec.name for spec in model.outputs)
    outputs = measure_outputs(ours.module, model.inputs, model.example, names)
    return dataclasses.replace(ours, outputs=outputs, edits=(*model.edits, *edits))
