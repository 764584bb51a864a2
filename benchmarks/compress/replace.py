"""Full convolutions as depthwise-separable ones, fitted to the old ones, and trained again."""

from __future__ import annotations

from dataclasses import replace

from compress.scene import Bar, accuracy, applied, context, convnet
from edgepack.compress.finetune import Finetune
from edgepack.compress.replace import ReplaceBlocks
from edgepack.model import Model

BARS = (
    Bar("lost", 1.5, False, "points lost"),
    Bar("replaced parameters left, %", 20.0, False, "% of the parameters"),
)


def measure(seed: int) -> dict[str, float]:
    """Return points lost without fitting, after fitting and after recovery, and what is left."""
    model = convnet(seed)
    raw = applied(ReplaceBlocks(convolutions="depthwise-separable", samples=0), model, seed)
    light = applied(ReplaceBlocks(convolutions="depthwise-separable"), model, seed)
    recovery = Finetune(epochs=10, learning_rate=3e-3, distil=0.5)
    mended = recovery.apply(light, replace(context(seed), original=lambda: model))
    names = [edit.module for edit in light.edits]
    whole = accuracy(model)
    return {
        "lost without fitting": whole - accuracy(raw),
        "lost before recovery": whole - accuracy(light),
        "lost": whole - accuracy(mended),
        "replaced parameters left, %": 100 * _count(light, names) / _count(model, names),
        "parameters left, %": 100 * light.facts()["parameters"] / model.facts()["parameters"],
        "multiply-adds left, %": 100
        * light.facts()["multiply_adds"]
        / model.facts()["multiply_adds"],
    }


def _count(model: Model, names: list[str]) -> int:
    layers = (model.module.get_submodule(name) for name in names)
    return sum(p.numel() for layer in layers for p in layer.parameters())
