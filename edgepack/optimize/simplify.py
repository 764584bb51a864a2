"""Folds constants, batch norms and idle nodes away, and proves that nothing else changed.

The folding is onnxscript's. On PP-OCR, Silero, MiniLM and small convnets it was the more exact of
two: onnxslim left 2 of 2 batch norms of a convnet and moved PP-OCR's detector by 8 %.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from edgepack.base import Context, GraphPass
from edgepack.child import ChildError, Limits, call
from edgepack.errors import ModelError
from edgepack.graph.checked import difference
from edgepack.types import Frozen

if TYPE_CHECKING:
    from edgepack.graph import Graph

LIMITS = Limits(seconds=300.0, memory=12 << 30)
_OLDEST = 11
MODERN = 14
"""Opset from which on weights can be quantised per channel (13), and as of which folding writes."""


class Simplified(Frozen):
    """What was removed, and how far the answers moved; `difference` is None where not measured."""

    opset: int
    applied: bool
    nodes_removed: int = 0
    operators_removed: dict[str, int] = {}
    difference: float | None = None
    shapes: int = 0


class Simplify(GraphPass):
    """Fold constants and batch norms, drop idle nodes, and keep the result if it agrees."""

    name: ClassVar[str] = "simplify"
    from_target: ClassVar[dict[str, str]] = {"opset": "runtime.opset", "ir": "runtime.ir"}

    opset: int = Field(26, ge=_OLDEST, description="highest opset that the runtime loads")
    ir: int = Field(13, ge=4, description="highest IR version that the runtime loads")

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return a simpler graph, or the same where simplifying would change its answers.

        Raises:
            ModelError: E425 when the graph cannot be brought to an opset that the target loads.
        """
        recent = _raised(graph, min(MODERN, self.opset), self.ir, context)
        simple, shapes, apart = _fold(recent, context)
        # Folding may remove the very operators that a conversion down has no rule for.
        ours = _convert(simple, min(_opset(simple), self.opset), self.ir, context)
        old, new = graph.facts(), ours.facts()
        removed = {k: n - new["operators"].get(k, 0) for k, n in old["operators"].items()}
        context.events.decision(
            Simplified(
                opset=_opset(ours),
                applied=simple is not recent,
                nodes_removed=old["nodes"] - new["nodes"],
                operators_removed={k: n for k, n in removed.items() if n > 0},
                difference=apart if apart != float("inf") else None,
                shapes=shapes,
            )
        )
        return ours


def _fold(graph: Graph, context: Context) -> tuple[Graph, int, float | None]:
    """Return the folded graph, or the same one; at how many shapes they were compared; how far."""
    if graph.scheme != "float":
        context.events.note("already quantised: constants are not folded")
        return graph, 0, None
    try:
        simple = _in_child("fold", graph, context.work)
    except ChildError as problem:
        context.events.note(f"not simplified: {problem}")
        return graph, 0, None
    try:
        shapes, apart = difference(graph, simple, context)
    except ModelError as problem:
        if problem.code != "E420":
            raise
        context.events.note(f"not simplified: {problem.what} after it: {problem.why}")
        return graph, 0, None
    limit = graph.tolerance.relative
    if apart is not None and apart <= limit:
        return simple, shapes, apart
    context.events.note(
        "not simplified: its inputs' sizes could not be guessed to check the result"
        if apart is None
        else f"not simplified: the answers would move by {apart:.2g}, over {limit:g}"
    )
    return graph, shapes, apart


def _opset(graph: Graph) -> int:
    version: int = graph.model.opset_imports[""]
    return version


def _raised(graph: Graph, opset: int, ir: int, context: Context) -> Graph:
    """Bring a float graph to an opset that can be quantised; runtimes load the old one as well."""
    was = _opset(graph)
    if was >= opset or graph.scheme != "float":
        return graph
    try:
        return _convert(graph, opset, ir, context)
    except ModelError as problem:
        context.events.note(
            f"it stays at opset {was}, and so float, as it cannot be brought to {opset}: "
            f"{problem.why or problem.what}"
        )
        return graph


def _convert(graph: Graph, opset: int, ir: int, context: Context) -> Graph:
    """Bring a graph to an opset and at most an IR version, and check the answers where it did.

    Raises:
        ModelError: E425 where neither rules nor a mere change of the number keep the answers.
    """
    ir = min(ir, graph.model.ir_version)
    if (opset, ir) == (_opset(graph), graph.model.ir_version):
        return graph
    refusals = []
    for function in ("convert", "relabel"):
        try:
            ours = _in_child(function, graph, context.work, opset=opset, ir=ir)
            _, apart = difference(graph, ours, context)
        except ChildError as problem:
            refusals.append(problem.detail.removeprefix("ValueError: "))
            continue
        except ModelError as problem:
            refusals.append(problem.why or problem.what)
            continue
        measured = apart is not None or function == "convert"
        if measured and (apart or 0.0) <= graph.tolerance.relative:
            return ours
        refusals.append(
            "its answers cannot be compared"
            if apart is None
            else f"its answers move by {apart:.2g}"
        )
    raise ModelError(
        "E425",
        f"`{graph.name}` cannot be brought from opset {_opset(graph)} to {opset}",
        why=refusals[0],
        fix=f"export the model at opset {opset} or lower, or without that operator",
    )


def _in_child(function: str, graph: Graph, work: Path, **options: int) -> Graph:
    """Run a function of `fold` on files; folding evaluates parts of a graph that may be foreign."""
    source, target = (Path(tempfile.mkdtemp(dir=work)) for _ in range(2))
    graph.save(source)
    arguments: dict[str, Any] = {"source": str(source), "target": str(target), **options}
    call(f"edgepack.optimize.fold:{function}", arguments, LIMITS)
    return type(graph).load(target)
