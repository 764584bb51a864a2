"""Single weights set to zero, without fine-tuning.

SparseGPT and magnitude go through all layers of the transformer, and, as figures without a bar,
through the convnet but for its first and last layer. Wanda is held against magnitude on the
transformer's blocks alone, as its authors do.
"""

from __future__ import annotations

from compress.scene import Bar, accuracy, applied, convnet, transformer
from edgepack.compress.weights import PruneWeights

ENDS = {
    "transformer": ("*patch_embeddings*", "model.classifier"),
    "convnet": ("stem.0", "head"),
}

BARS = (
    Bar("SparseGPT 75 %: lost", 4.0, False, "points lost"),
    Bar("SparseGPT 75 %: over magnitude", 10.0, True, "points better than magnitude"),
    Bar("Wanda 60 %: over magnitude", 0.01, True, "points better than magnitude"),
)


def measure(seed: int) -> dict[str, float]:
    """Return points of accuracy lost, and won over magnitude layer by layer."""

    def lost(name: str, method: str, ratio: float, *, ends: bool) -> float:
        model = {"transformer": transformer, "convnet": convnet}[name](seed)
        keep = () if ends else ENDS[name]
        one = PruneWeights.model_validate({"method": method, "ratio": ratio, "keep": keep})
        return accuracy(model) - accuracy(applied(one, model, seed))

    found = {}
    for label, name, ends in (("", "transformer", True), (", convnet", "convnet", False)):
        sparse = lost(name, "sparsegpt", 0.75, ends=ends)
        plain = lost(name, "magnitude", 0.75, ends=ends)
        found[f"SparseGPT 75 %{label}: lost"] = sparse
        found[f"magnitude 75 %{label}: lost"] = plain
        found[f"SparseGPT 75 %{label}: over magnitude"] = plain - sparse
    for method in ("wanda", "magnitude", "gradient"):
        found[f"{method} 60 %, blocks: lost"] = lost("transformer", method, 0.6, ends=False)
    found["Wanda 60 %: over magnitude"] = (
        found["magnitude 60 %, blocks: lost"] - found["wanda 60 %, blocks: lost"]
    )
    return found
