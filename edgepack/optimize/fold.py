"""The work of `simplify`, run in a child on folders that `Graph.save` wrote."""

from __future__ import annotations

from pathlib import Path

from edgepack.graph import Graph


def fold(source: str, target: str) -> None:
    """Fold constants, fuse batch norms into convolutions, drop nodes without an effect."""
    from onnx_ir.passes import common
    from onnxscript import optimizer, rewriter

    graph = Graph.load(Path(source))
    model = optimizer.optimize(graph.model)
    model = optimizer.optimize(rewriter.rewrite(model))
    # The rewriter signs what it did.
    common.ClearMetadataAndDocStringPass()(model)
    graph.replace(model=model).save(Path(target))


def convert(source: str, target: str, opset: int, ir: int) -> None:
    """Bring a model to another opset and IR version."""
    from onnx import version_converter

    graph = Graph.load(Path(source))
    proto = graph.proto()
    if not _same_operators(graph, opset):
        proto = version_converter.convert_version(proto, opset)
    for imported in proto.opset_import:
        imported.version = opset if imported.domain == "" else imported.version
    proto.ir_version = ir
    ours = Graph.from_proto(proto, scheme=graph.scheme, tolerance=graph.tolerance)
    ours.save(Path(target))


def _same_operators(graph: Graph, opset: int) -> bool:
    """Whether each operator of the graph is defined alike at both opsets."""
    from onnx import defs

    was = graph.model.opset_imports[""]
    names = {n.op_type for n in graph.model.graph.all_nodes() if n.domain == ""}
    if not all(defs.has(name, version, "") for name in names for version in (was, opset)):
        return False
    versions = [[defs.get_schema(n, v, "").since_version for n in names] for v in (was, opset)]
    return versions[0] == versions[1]
