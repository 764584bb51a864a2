"""What layers are fed, gathered while calibration samples stream through the runtime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Context
from edgepack.quantize.layers import Layer
from edgepack.quantize.probe import Probe, means
from edgepack.quantize.rounding import gram

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

TOGETHER = 256 << 20
"""Bytes of H that are gathered in one sweep over the samples."""


def seen_by(
    proto: onnx.ModelProto, found: list[Layer], limit: int, context: Context, what: str
) -> Iterator[tuple[Layer, Array, Array]]:
    """Yield layers with H = X X^T, [in, in], and mean |x|, [in], of their inputs."""
    for some in _portions(found):
        probe = Probe.of(proto)
        grams = [gram(probe, layer) for layer in some]
        sizes = [_size(probe, layer) for layer in some]
        answers = means(proto, probe, limit, context, what)
        for layer, name, size in zip(some, grams, sizes, strict=True):
            yield layer, answers[name][0], answers[size]


def _size(probe: Probe, layer: Layer) -> str:
    """Add nodes that give the mean magnitude of each input channel; return the output's name."""
    source = layer.node.input[0]
    name = f"size of {source}"
    if name not in probe.outputs:
        columns = layer.layout.grouped(layer.weight).shape[2]
        shape = probe.constant(f"{name} shape", np.array([-1, columns], np.int64))
        rows = probe.node("Reshape", [source, shape], f"{name} rows")
        probe.reduced("ReduceMean", probe.node("Abs", [rows], f"{name} abs"), [0], name)
        probe.outputs.append(name)
    return name


def _portions(found: list[Layer]) -> list[list[Layer]]:
    """Split layers so that the H of each part stay below `TOGETHER`; those of one input once."""
    parts: list[list[Layer]] = [[]]
    sources: set[str] = set()
    held = 0
    for layer in found:
        source = layer.node.input[0]
        size = 0 if source in sources else 12 * layer.layout.grouped(layer.weight).shape[2] ** 2
        if held + size > TOGETHER and parts[-1]:
            parts.append([])
            sources, held = set(), 0
        parts[-1].append(layer)
        sources.add(source)
        held += size
    return [part for part in parts if part]
