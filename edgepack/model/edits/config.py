"""Makes a transformers model anew from its configuration with other values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepack.model.edits.place import at, misfit
from edgepack.model.run import repeatable

if TYPE_CHECKING:
    from edgepack.model import Model
    from edgepack.types import Config


def edit(model: Model, changes: Sequence[Config]) -> None:
    """Make transformers models anew, in place; their weights are random, the same each time.

    What a model goes without, such as a pooler, it goes without afterwards.

    Raises:
        ModelError: E429 when there is no such model, its configuration lacks a value, or the class
            refuses what it is given.
    """
    from transformers import PreTrainedModel

    for change in changes:
        old = at(model.module, change.module)
        if not isinstance(old, PreTrainedModel):
            raise misfit(change.module, f"a {type(old).__name__} is no model of transformers")
        config = copy.deepcopy(old.config)
        for key, value in change.values.items():
            if not hasattr(config, key):
                raise misfit(change.module, f"its configuration has no `{key}`")
            setattr(config, key, value)
        if kinds := getattr(config, "layer_types", None):
            config.layer_types = kinds[: config.num_hidden_layers]
        try:
            with repeatable(0):
                made = type(old)(config).to(old.dtype)
        except (ValueError, TypeError, RuntimeError) as problem:
            raise misfit(change.module, str(problem).splitlines()[0]) from problem
        for name, _ in list(made.named_children()):
            if getattr(old, name, None) is None:
                setattr(made, name, None)
        # The old module becomes the new one, so that it may be the model itself as well.
        vars(old).clear()
        vars(old).update(vars(made))
