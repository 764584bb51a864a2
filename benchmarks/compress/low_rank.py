"""Linear layers as thin pairs with half of their weights, without fine-tuning.

How far the outputs of the transformer's layers move on held-out pictures, relative to the outputs:
ranks from the inputs' second moment over the calibration pictures, and from the weights alone.
"""

from __future__ import annotations

import numpy as np

from compress.scene import Bar, accuracy, applied, context, transformer
from edgepack.compress.activations import collect
from edgepack.compress.batches import Batches
from edgepack.compress.low_rank import LowRank
from edgepack.compress.thin import relative_error
from edgepack.model.matrices import matrix

ENDS = ("*patch_embeddings*", "model.classifier")
"""Four inputs and ten outputs: at half of the weights their rank is 1 and 4."""

BARS = (
    Bar("whitened: error over that of SVD", 0.3, False, "share"),
    Bar("drone: error over that of SVD", 0.3, False, "share"),
)


def measure(seed: int) -> dict[str, float]:
    """Return mean relative errors of the layers' outputs in percent, their ratio, and points."""
    model = transformer(seed)
    held_out = Batches.of(model, context(seed).data["evaluation"], labelled=False)
    found = {}
    for method in ("svd", "whitened", "drone"):
        one = LowRank.model_validate({"method": method, "ratio": 0.5, "keep": ENDS})
        thin = applied(one, model, seed)
        names = [edit.module for edit in thin.edits]
        layers = {name: model.module.get_submodule(name) for name in names}
        seen = collect(model.module, layers, held_out)
        errors = []
        for name in names:
            weights = matrix(layers[name])[0]
            pair = thin.module.get_submodule(name)
            errors.append(relative_error(weights, pair.weight.detach(), seen[name]))
        found[f"{method}: relative error, %"] = 100 * float(np.mean(errors))
        found[f"{method}: lost"] = accuracy(model) - accuracy(thin)
    for method in ("whitened", "drone"):
        found[f"{method}: error over that of SVD"] = (
            found[f"{method}: relative error, %"] / found["svd: relative error, %"]
        )
    return found
