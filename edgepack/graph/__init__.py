"""The Graph value: an ONNX model of ours, the gate that lets foreign files in, and its runner."""

from __future__ import annotations

from edgepack.graph.value import FLOAT_TOLERANCE, Graph

__all__ = ["FLOAT_TOLERANCE", "Graph"]
