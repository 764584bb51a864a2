"""The work of `simplify`, run in a child on folders that `Graph.save` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.graph import Graph
from edgepack.graph.sharing import share_equal
from edgepack.graph.weights import SINGLE_FILE

if TYPE_CHECKING:
    import onnx

SOFTMAXES = {"Softmax", "LogSoftmax", "Hardmax"}


def fold(source: str, target: str) -> None:
    """Fold constants, fuse batch norms into convolutions, drop nodes without an effect."""
    from onnx_ir.passes import common
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import _no_op

    # "Adding 0" is matched with a tolerance that takes the epsilon of a normalisation, 1e-12, for
    # 0; a constant row would then be divided by 0. The optimiser knows no option for it.
    idle = {id(rule) for rule in _no_op.rules}
    kept = [rule for rule in rewriter._DEFAULT_REWRITE_RULES if id(rule) not in idle]
    harmless = [*_no_op.mul_by_1_rule.commute(), _no_op.div_by_1_rule, _no_op.dropout_zero_rule]
    rewriter._DEFAULT_REWRITE_RULES = (*kept, *harmless)
    graph = Graph.load(Path(source))
    model = optimizer.optimize(graph.model)
    model = optimizer.optimize(rewriter.rewrite(model))
    # The rewriter signs what it did.
    common.ClearMetadataAndDocStringPass()(model)
    # Weights that serve in several places were turned or scaled for each.
    share_equal(model.graph)
    graph.replace(model=model).save(Path(target))


def convert(source: str, target: str, opset: int, ir: int) -> None:
    """Bring a model to another opset and IR version, by rules alone.

    1. Operators that the opset lacks are spelt out by their own definition, where they have one.
    2. Where all operators are defined alike at both opsets, only the number changes.
    3. Otherwise onnx's converter rewrites them.

    Raises:
        ValueError: naming the operator that the opset lacks, or what the converter stumbles over.
    """
    from onnx import version_converter

    graph = Graph.load(Path(source))
    proto = graph.proto()
    if graph.weight <= SINGLE_FILE:
        proto = _spelt_out(proto, opset)
    if missing := _missing(proto, opset):
        raise ValueError(missing)
    if not _same_operators(proto, opset):
        if graph.weight > SINGLE_FILE:
            raise ValueError("onnx's converter takes no model of 2 GiB and more")
        try:
            proto = version_converter.convert_version(proto, opset)
        except RuntimeError as problem:
            raise ValueError(f"onnx's converter fails: {str(problem)[:300]}") from problem
    _save(graph, proto, target, opset, ir)


def relabel(source: str, target: str, opset: int, ir: int) -> None:
    """Change only the opset's number; whether that is right is for a comparison to tell.

    Raises:
        ValueError: naming the operator that the opset lacks, or that means another thing there in
            a way that samples may not show.
    """
    graph = Graph.load(Path(source))
    proto = graph.proto()
    if missing := _missing(proto, opset):
        raise ValueError(missing)
    softmaxes = any(n.op_type in SOFTMAXES for n in _nodes(proto.graph.node))
    if softmaxes and _opset(proto) < 13 <= opset:
        raise ValueError("a softmax flattens its input before opset 13")
    _save(graph, proto, target, opset, ir)


def _save(graph: Graph, proto: onnx.ModelProto, target: str, opset: int, ir: int) -> None:
    for imported in proto.opset_import:
        imported.version = opset if imported.domain == "" else imported.version
    proto.ir_version = ir
    ours = Graph.from_proto(
        proto, scheme=graph.scheme, tolerance=graph.tolerance, table=graph.table
    )
    ours.save(Path(target))


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of ONNX's own domain, subgraphs included."""
    for node in nodes:
        if node.domain == "":
            yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _opset(proto: onnx.ModelProto) -> int:
    version: int = next(o.version for o in proto.opset_import if o.domain == "")
    return version


def _exists(operator: str, opset: int) -> bool:
    from onnx import defs

    return defs.has(operator, opset, "") and not defs.get_schema(operator, opset, "").deprecated


def _missing(proto: onnx.ModelProto, opset: int) -> str:
    """Name the first operator that an opset above or below the model's lacks."""
    from onnx import defs

    if opset > _opset(proto):
        return ""  # the converter replaces operators that are gone
    for node in _nodes(proto.graph.node):
        if not _exists(node.op_type, opset):
            since = defs.get_schema(node.op_type, _opset(proto), "").since_version
            name = node.name or next(iter(node.output), "")
            return f"operator `{node.op_type}` (node `{name}`) is of opset {since}"
    return ""


def _spelt_out(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Replace operators newer than an opset by the functions that define them."""
    from onnx import defs, inliner

    was = _opset(proto)
    newer = {n.op_type for n in _nodes(proto.graph.node) if not _exists(n.op_type, opset)}
    schemas = {name: defs.get_schema(name, was, "") for name in sorted(newer)}
    if opset > was or not any(s.has_function or s.has_context_dependent_function
                              for s in schemas.values()):  # fmt: skip
        return proto
    names = [("", name) for name in schemas]
    return inliner.inline_selected_functions(proto, names, inline_schema_functions=True)


def _same_operators(proto: onnx.ModelProto, opset: int) -> bool:
    """Whether each operator of the model is defined alike at both opsets."""
    from onnx import defs

    was = _opset(proto)
    names = {n.op_type for n in _nodes(proto.graph.node)}
    if not all(defs.has(name, version, "") for name in names for version in (was, opset)):
        return False
    versions = [[defs.get_schema(n, v, "").since_version for n in names] for v in (was, opset)]
    return versions[0] == versions[1]
