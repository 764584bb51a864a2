"""Two of four layers, with a short training after them.

The last layers of this small transformer hardly do anything, so that the right two cost little even
before training. What training wins back shows where the wrong two went: the first.
"""

import numpy as np

from compress.scene import Bar, accuracy, applied, transformer
from edgepack.compress.depth import PruneLayers
from edgepack.compress.finetune import Finetune

BARS = (Bar("lost after recovery", 2, False, "points of accuracy"),)
RECOVERY = Finetune(epochs=10, learning_rate=2e-3)
DRAWS = 3


def measure(seed: int) -> dict[str, float]:
    """Drop the transformer's two least layers, then train it for ten epochs."""
    whole = transformer(seed)
    cut = applied(PruneLayers(ratio=0.5), whole, seed)
    wrong = applied(PruneLayers(ratio=0.5, criterion="first"), whole, seed)
    blind = [
        accuracy(applied(PruneLayers(ratio=0.5, criterion="random"), whole, 10 * seed + draw))
        for draw in range(DRAWS)
    ]
    before, after = accuracy(whole), accuracy(applied(RECOVERY, cut, seed))
    return {
        "before": before,
        "cut": accuracy(cut),
        "cut at random": float(np.mean(blind)),
        "cut at the front": accuracy(wrong),
        "tuned": after,
        "tuned, from the cut at the front": accuracy(applied(RECOVERY, wrong, seed)),
        "lost after recovery": before - after,
    }
