"""Single weights set to zero, without fine-tuning.

All layers of a transformer that reads rows; as figures without a bar, those of the convnet but for
its first and last.
"""

from __future__ import annotations

from compress.scene import Bar, accuracy, applied, convnet, transformer
from edgepack.compress.weights import PruneWeights
from edgepack.model import Model

ENDS = ("stem.0", "head")

BARS = (
    Bar("sparsegpt 75 %: lost", 4.0, False, "points lost"),
    Bar("SparseGPT 75 %: over magnitude", 10.0, True, "points better than magnitude"),
    Bar("Wanda 60 %: over magnitude", 0.01, True, "points better than magnitude"),
)


def measure(seed: int) -> dict[str, float]:
    """Return points of accuracy lost, and won over magnitude layer by layer."""
    whole, convolutions = transformer(seed, rows=True), convnet(seed)

    def lost(model: Model, method: str, ratio: float, *keep: str) -> float:
        one = PruneWeights.model_validate({"method": method, "ratio": ratio, "keep": keep})
        return accuracy(model) - accuracy(applied(one, model, seed))

    found = {
        f"{method} {percent} %: lost": lost(whole, method, percent / 100)
        for percent in (60, 75)
        for method in ("magnitude", "gradient", "wanda", "sparsegpt")
    }
    for method in ("magnitude", "sparsegpt"):
        found[f"{method} 75 %, convnet: lost"] = lost(convolutions, method, 0.75, *ENDS)
    found["SparseGPT 75 %: over magnitude"] = (
        found["magnitude 75 %: lost"] - found["sparsegpt 75 %: lost"]
    )
    found["Wanda 60 %: over magnitude"] = found["magnitude 60 %: lost"] - found["wanda 60 %: lost"]
    return found
