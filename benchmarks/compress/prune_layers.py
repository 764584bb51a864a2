"""Two of four layers, with a short training after them."""

from compress.scene import Bar, accuracy, applied, transformer
from edgepack.compress.depth import PruneLayers
from edgepack.compress.finetune import Finetune

BARS = (Bar("lost after recovery", 2, False, "points of accuracy"),)
RECOVERY = Finetune(epochs=10, learning_rate=2e-3)


def measure(seed: int) -> dict[str, float]:
    """Drop the transformer's two least layers, then train it for ten epochs."""
    whole = transformer(seed)
    cut = applied(PruneLayers(ratio=0.5), whole, seed)
    tuned = applied(RECOVERY, cut, seed)
    before, worst, after = accuracy(whole), accuracy(cut), accuracy(tuned)
    return {"before": before, "cut": worst, "tuned": after, "lost after recovery": before - after}
