"""Writes additions before a layer norm as Sum, which no runtime fuses with it.

ONNX Runtime makes SkipLayerNormalization of an Add and the norm after it, a kernel that takes twice
as long as the two (1.5 against 0.7 of 13.6 ms for MiniLM at 128 tokens on a Zen 4), and does so
whenever it loads a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def keep_sums(proto: onnx.ModelProto) -> None:
    """Turn every Add that a LayerNormalization reads into a Sum, in place; the two are the same."""
    normalised = {n.input[0] for n in proto.graph.node if n.op_type == "LayerNormalization"}
    for node in proto.graph.node:
        if node.op_type == "Add" and normalised.intersection(node.output):
            node.op_type = "Sum"
