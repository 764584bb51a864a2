"""Shapes of lighter transformers, as their papers give them."""

from __future__ import annotations

from typing import Literal

from edgepack.types import Frozen


class Shape(Frozen):
    """Widths and depth of a transformer; 0 for the teacher's.

    Attributes:
        layers: blocks.
        hidden: width of what goes from block to block.
        heads: of each attention.
        intermediate: inner width of the feed-forward layers.
        embedding: width of the table of tokens, which a linear layer widens.
    """

    layers: int = 0
    hidden: int = 0
    heads: int = 0
    intermediate: int = 0
    embedding: int = 0


Preset = Literal[
    "minilm-6", "minilm-3", "tinybert-6", "tinybert-4", "mobilebert-24", "bert-mini", "bert-tiny"
]

PRESETS: dict[Preset, Shape] = {
    # Wang et al., MiniLM (NeurIPS 2020, arXiv 2002.10957)
    "minilm-6": Shape(layers=6, hidden=384, heads=12, intermediate=1536),
    "minilm-3": Shape(layers=3, hidden=384, heads=12, intermediate=1536),
    # Jiao et al., TinyBERT (Findings of EMNLP 2020, arXiv 1909.10351)
    "tinybert-6": Shape(layers=6, hidden=768, heads=12, intermediate=3072),
    "tinybert-4": Shape(layers=4, hidden=312, heads=12, intermediate=1200),
    # Sun et al., MobileBERT (ACL 2020, arXiv 2004.02984): its depth and widths, without bottlenecks
    "mobilebert-24": Shape(layers=24, hidden=512, heads=4, intermediate=512, embedding=128),
    # Turc et al., Well-Read Students Learn Better (2019, arXiv 1908.08962)
    "bert-mini": Shape(layers=4, hidden=256, heads=4, intermediate=1024),
    "bert-tiny": Shape(layers=2, hidden=128, heads=2, intermediate=512),
}
