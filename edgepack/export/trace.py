"""Turns a module into a graph with torch's exporter."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.sharing import share_equal
from edgepack.model.run import tensors_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.model import Model


class Exported(NamedTuple):
    """A graph, and where each of its values is from.

    Attributes:
        graph: the graph, without traces.
        modules: the modules that a value was computed in, by its name, from the outermost.
    """

    graph: Graph
    modules: dict[str, tuple[str, ...]]


def to_graph(model: Model, opset: int) -> Exported:
    """Export a model; axes keep the names that its specs give them.

    Raises:
        ModelError: E436 when torch cannot export it.
    """
    ours = model.copy()
    # An axis of size 1 would be taken for a constant.
    feed = ours.sized({axis: max(2, size) for axis, size in ours.dynamic_axes().items()})
    tensors = tensors_of([feed[spec.name] for spec in ours.inputs])
    axes = tuple(
        {place: axis for place, axis in enumerate(spec.shape) if isinstance(axis, str)}
        for spec in ours.inputs
    )
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                ours.module,
                tensors,
                dynamo=True,
                opset_version=opset,
                input_names=[spec.name for spec in ours.inputs],
                output_names=[spec.name for spec in ours.outputs],
                dynamic_shapes=_shapes_of(ours.module, axes),
                external_data=False,
                verbose=False,
            )
    except Exception as problem:  # whatever tracing a model may raise
        raise _refused(problem) from problem
    _free_names(program.model.graph)
    modules = _modules(program.model.graph)
    _drop_traces(program.model)
    # The exporter turns the weights of a layer anew for each place that it serves in.
    share_equal(program.model.graph)
    return Exported(Graph(program.model), modules)


def _shapes_of(module: torch.nn.Module, axes: tuple[dict[int, str], ...]) -> Any:
    """Nest the axes as the signature of `forward` does: ``*tensors`` is one argument."""
    code = module.forward.__code__
    starred = code.co_argcount == 1 and code.co_flags & 4
    return (axes,) if starred else axes


def _free_names(graph: ir.Graph) -> None:
    """Rename inner values that bear the name of an input or output, as exporters leave them."""
    ends = [*graph.inputs, *graph.outputs]
    inner = [v for node in graph.all_nodes() for v in node.outputs]
    inner = [v for v in (*inner, *graph.initializers.values()) if all(v is not e for e in ends)]
    taken = {value.name for value in ends}
    names = {value.name for value in inner} | taken
    for value in inner:
        if value.name in taken:
            name = f"{value.name}_inner"
            while name in names:
                name += "_"
            names.add(name)
            value.name = name


def _modules(graph: ir.Graph) -> dict[str, tuple[str, ...]]:
    """Read from the exporter's notes which modules each value was computed in."""
    scopes = {
        value.name: ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        for node in graph
        for value in node.outputs
    }
    # The first scope is the model itself, the last the operation.
    return {name: tuple(scope[1:-1]) for name, scope in scopes.items() if name}


def _drop_traces(model: ir.Model) -> None:
    """Drop stack traces and build paths, which differ from machine to machine."""
    nodes = list(model.graph.all_nodes())
    values = [v for node in nodes for v in node.outputs]
    values += [*model.graph.inputs, *model.graph.initializers.values()]
    for holder in (model, model.graph, *nodes, *values):
        holder.metadata_props.clear()
        holder.doc_string = None


def _refused(problem: BaseException) -> ModelError:
    """Name the cause that lies deepest."""
    deepest = problem
    while (inner := deepest.__cause__ or deepest.__context__) is not None:
        deepest = inner
    first = next((line.strip() for line in str(deepest).splitlines() if line.strip()), "")
    return ModelError(
        "E436",
        "torch cannot export the model",
        why=f"{type(deepest).__name__}: {first}",
        fix="write what the message names in operations that ONNX has, without branches on values",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter prints, warns and logs to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
