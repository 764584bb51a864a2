"""Puts a foreign model's own functions in line, after counting what that will make of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from edgepack.errors import ModelError
from edgepack.graph.structure import MAX_NODES

if TYPE_CHECKING:
    import onnx

    Key: TypeAlias = tuple[str, str, str]

MAX_CALLS = 64
"""Deepest chain of functions that call each other."""


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with every call of its functions replaced by the function's body.

    Raises:
        ModelError: E409 when functions call themselves, become too many nodes, or are written for
            an opset that defines their operators otherwise than the model's does.
    """
    from onnx import inliner

    bodies = {_key(f.domain, f.name, f.overload): f for f in model.functions}
    if len(bodies) != len(model.functions):
        raise _refused("two functions have the same name")
    sizes: dict[Key, int] = {}
    if sum(_size(node, bodies, sizes, ()) for node in _nodes(model.graph.node)) > MAX_NODES:
        raise _refused(f"put in line they would be more than {MAX_NODES:,} nodes")
    unused = [f for key, f in bodies.items() if key not in sizes]
    for function in unused:
        model.functions.remove(function)
    for function in model.functions:
        _align(function, model)
    try:
        flat = inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as problem:  # all that the inliner raises
        raise _refused(f"onnx.inliner fails: {str(problem)[:300]}") from problem
    if flat.functions:
        raise _refused(f"onnx.inliner leaves `{flat.functions[0].name}`")
    return flat


def _key(domain: str, name: str, overload: str) -> Key:
    return "" if domain == "ai.onnx" else domain, name, overload


def _nodes(nodes: Any) -> Iterator[onnx.NodeProto]:
    """Yield nodes and those of their subgraphs."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting += graph.node


def _size(
    node: onnx.NodeProto,
    bodies: dict[Key, onnx.FunctionProto],
    sizes: dict[Key, int],
    callers: tuple[Key, ...],
) -> int:
    """Return how many nodes a node becomes."""
    key = _key(node.domain, node.op_type, node.overload)
    if key not in bodies:
        return 1
    if key in callers or len(callers) == MAX_CALLS:
        deep = "calls itself" if key in callers else f"is called {MAX_CALLS} functions deep"
        raise _refused(f"`{'.'.join(filter(None, key))}` {deep}")
    if key not in sizes:
        inner = _nodes(bodies[key].node)
        sizes[key] = sum(_size(n, bodies, sizes, (*callers, key)) for n in inner)
    return sizes[key]


def _align(function: onnx.FunctionProto, model: onnx.ModelProto) -> None:
    """Let a function import what the model imports; the inliner wants them alike."""
    versions = {o.domain: o.version for o in model.opset_import}
    for imported in function.opset_import:
        domain, was = imported.domain, imported.version
        if domain not in versions:
            model.opset_import.add(domain=domain, version=was)
            versions[domain] = was
        now = versions[domain]
        names = {n.op_type for n in _nodes(function.node) if n.domain == domain}
        for name in names if was != now and domain in ("", "ai.onnx", "ai.onnx.ml") else ():
            if _since(name, was, domain) != _since(name, now, domain):
                raise _refused(
                    f"`{function.name}` uses `{name}` of opset {was}, the model is of opset {now}"
                )
        imported.version = now


def _since(name: str, version: int, domain: str) -> int:
    """Return the opset that defined an operator as a version has it; 0 where it has none."""
    from onnx import defs

    if not 0 < version < 1 << 31 or not defs.has(name, version, domain):
        return 0
    since: int = defs.get_schema(name, version, domain).since_version
    return since


def _refused(why: str) -> ModelError:
    return ModelError(
        "E409",
        "the model's own functions cannot be put in line",
        why=why,
        fix="export the model without functions, or at one opset throughout",
    )
