"""A quarter of the convnet's channels by each criterion, before anything is trained again."""

from __future__ import annotations

from compress.scene import Bar, accuracy, applied, convnet
from edgepack.compress.prune import Prune

CRITERIA = ("l1", "l2", "taylor", "obd", "activation", "batch-norm", "random")
BARS: tuple[Bar, ...] = ()


def measure(seed: int) -> dict[str, float]:
    """Return the accuracy after each criterion's cut, and the work that is left."""
    model = convnet(seed)
    found = {"accuracy before": accuracy(model)}
    for criterion in CRITERIA:
        pruned = applied(
            Prune(ratio=0.25, criterion=criterion, samples=256),
            model,
            seed,
        )
        found[f"accuracy, a quarter cut by {criterion}"] = accuracy(pruned)
    facts = pruned.facts()["multiply_adds"] / model.facts()["multiply_adds"]
    return found | {"share of multiply-adds left": facts}
