"""Four layers of the transformer as one, the ALBERT way, and trained again.

What is left of the parameters and of the ONNX file, and what is lost.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from compress.scene import Bar, accuracy, applied, context, transformer
from edgepack.compress.finetune import Finetune
from edgepack.compress.share import Share
from edgepack.export.trace import to_graph
from edgepack.model import Model

OPSET = 20

BARS = (
    Bar("lost", 2.5, False, "points lost"),
    Bar("parameters left, %", 30.0, False, "% of the parameters"),
    Bar("ONNX file left, %", 40.0, False, "% of the file"),
)


def measure(seed: int) -> dict[str, float]:
    """Return points lost before and after recovery, and shares of parameters and file."""
    model = transformer(seed)
    shared = applied(Share(layers="all", init="first"), model, seed)
    recovery = Finetune(epochs=30, learning_rate=3e-3, batch_size=64, distil=0.5, temperature=2.0)
    after = accuracy(recovery.apply(shared, replace(context(seed), original=lambda: model)))
    was, now = model.facts()["parameters"], shared.facts()["parameters"]
    return {
        "lost before recovery": accuracy(model) - accuracy(shared),
        "lost": accuracy(model) - after,
        "parameters left, %": 100 * now / was,
        "ONNX file left, %": 100 * _bytes(shared) / _bytes(model),
    }


def _bytes(model: Model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        to_graph(model, OPSET).graph.save(Path(folder))
        return sum(file.stat().st_size for file in Path(folder).iterdir())
