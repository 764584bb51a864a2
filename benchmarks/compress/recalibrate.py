"""Batch norms measured anew after half of the channels went, by length."""

from compress.scene import Bar, accuracy, applied, convnet
from edgepack.compress.prune import Prune
from edgepack.compress.recalibrate import Recalibrate

BARS = (Bar("won back", 20, True, "points of accuracy"),)


def measure(seed: int) -> dict[str, float]:
    """Prune the convnet by half, then measure its batch norms anew."""
    whole = convnet(seed)
    cut = applied(Prune(ratio=0.5, criterion="l2"), whole, seed)
    mended = applied(Recalibrate(), cut, seed)
    before, worst, after = accuracy(whole), accuracy(cut), accuracy(mended)
    return {"before": before, "cut": worst, "mended": after, "won back": after - worst}
