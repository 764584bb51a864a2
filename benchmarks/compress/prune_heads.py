"""Half of the attention heads, without fine-tuning: by gradient, and at random.

Heads of all layers compete in both. The same share of each layer costs far more here, for the first
layer of this small transformer does most of the work; it is shown beside them.
"""

import numpy as np

from compress.scene import Bar, accuracy, applied, transformer
from edgepack.compress.heads import PruneHeads

BARS = (
    Bar("lost by gradient", 4, False, "points of accuracy"),
    Bar("gradient over random", 10, True, "points of accuracy"),
)
DRAWS = 3


def measure(seed: int) -> dict[str, float]:
    """Cut half of the transformer's heads; a random choice is drawn three times."""
    whole = transformer(seed)
    wise = accuracy(applied(PruneHeads(ratio=0.5), whole, seed))
    alike = accuracy(applied(PruneHeads(ratio=0.5, scope="layer"), whole, seed))
    blind = [
        accuracy(applied(PruneHeads(ratio=0.5, criterion="random"), whole, 10 * seed + draw))
        for draw in range(DRAWS)
    ]
    before, random = accuracy(whole), float(np.mean(blind))
    return {
        "before": before,
        "by gradient": wise,
        "by gradient, the same share of each layer": alike,
        "at random": random,
        "lost by gradient": before - wise,
        "gradient over random": wise - random,
    }
