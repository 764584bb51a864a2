"""Leaves torch: the model as an ONNX graph that answers alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from edgepack.base import Context, ExportPass

if TYPE_CHECKING:
    from edgepack.graph import Graph
    from edgepack.model import Model


class Export(ExportPass):
    """Export with `torch.onnx.export`, and hold the graph against torch at up to three sizes."""

    name: ClassVar[str] = "export"
    from_target: ClassVar[Mapping[str, str]] = {"opset": "runtime.opset"}

    opset: int = Field(ge=18, le=23, description="version of the ONNX operators")

    def apply(self, model: Model, context: Context) -> Graph:
        """Return the graph once it is known to answer as torch does.

        Raises:
            ModelError: E436 when torch cannot export the model, E437 when the graph answers
                otherwise than torch, E420 to E424 when it does not run, E488 when a trained weight
                is lost.
        """
        from edgepack.export.grids import ROUNDED, table_of
        from edgepack.export.parity import hold
        from edgepack.export.trace import to_graph

        exported = to_graph(model, self.opset)
        context.events.decision(hold(model, exported, context.seed, context.runner))
        graph = exported.graph.replace(table=table_of(model, exported.graph))
        return graph.replace(tolerance=ROUNDED) if model.rounds else graph
