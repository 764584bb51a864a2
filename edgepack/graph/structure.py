"""The gate's eye for structure: operators, names, order, depth.

One walk over a foreign graph and its subgraphs. It hands every tensor to `Tensors`, puts nodes in
order where they are not, and drops what is not needed to run the model.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from edgepack.errors import ModelError
from edgepack.graph.tensors import STRING

if TYPE_CHECKING:
    import onnx

    from edgepack.graph.tensors import Tensors

MAX_NODES = 200_000
MAX_DEPTH = 8
DOMAINS = ("", "ai.onnx.ml", "com.microsoft")
FOREIGN = {
    "com.microsoft.nchwc": "ONNX Runtime wrote it for one processor: give the model it was made of",
    "com.ms.internal.nhwc": "ONNX Runtime wrote it for one provider: give the model it was made of",
    "ai.onnx.contrib": "cut the tokeniser off, and feed the model numbers",
    "org.pytorch.aten": "export with `torch.onnx.export(..., dynamo=True)`, without ATen fallback",
}
"""Domains that exporters and runtimes leave behind, and what to do about them."""


class Walk:
    """Checks one model's graphs.

    Args:
        versions: opset of each domain.
        tensors: takes every tensor.

    Attributes:
        domains: those that a node uses.
        nodes: counted so far.
    """

    def __init__(self, versions: dict[str, int], tensors: Tensors) -> None:
        self._versions = versions
        self._tensors = tensors
        self._schemas: dict[tuple[str, str], Any] = {}
        self._names: set[str] = set()
        self.domains: set[str] = set()
        self.nodes = 0

    def graph(self, graph: onnx.GraphProto, outer: frozenset[str], depth: int = 0) -> set[str]:
        """Check a graph in place and return the outer names that it reads.

        Raises:
            ModelError: E403 to E407, E413, E415 and E419.
        """
        if depth > MAX_DEPTH:
            raise ModelError(
                "E404",
                f"subgraphs are nested deeper than {MAX_DEPTH}",
                where=f"graph `{graph.name}`",
                fix="export the model with its control flow unrolled",
            )
        self.nodes += len(graph.node)
        if self.nodes > MAX_NODES:
            raise ModelError(
                "E404",
                f"the model has more than {MAX_NODES:,} nodes",
                fix="export the model without unrolling its loops",
            )
        del graph.value_info[:], graph.quantization_annotation[:], graph.metadata_props[:]
        graph.doc_string = ""
        local = self._sources(graph, outer, depth)
        made: dict[str, int] = {}
        for index, node in enumerate(graph.node):
            for name in filter(None, node.output):
                if name in made or name in local or name in outer:
                    raise _naming(f"`{name}` is made twice", label(node))
                made[name] = index
        visible = outer | local | made.keys()
        reads = [self._node(node, visible, depth) for node in graph.node]
        for node, names in zip(graph.node, reads, strict=True):
            if missing := sorted(names - visible):
                raise _naming(f"`{missing[0]}` is read but nothing makes it", label(node))
        for value in graph.output:
            value.doc_string = ""
            del value.metadata_props[:]
            if value.name not in visible:
                raise _naming(f"output `{value.name}` is made by nothing", graph.name)
        _sort(graph, reads, made)
        passed = {v.name for v in graph.output} & outer
        return (set[str]().union(*reads) & outer) | passed

    def _sources(self, graph: onnx.GraphProto, outer: frozenset[str], depth: int) -> set[str]:
        """Check inputs and weights; return their names."""
        inputs = [v.name for v in graph.input]
        for value in graph.input:
            value.doc_string = ""
            del value.metadata_props[:]
        for tensor in graph.initializer:
            self._tensors.embed(tensor, f"initializer `{tensor.name}`")
        for sparse in graph.sparse_initializer:
            where = f"initializer `{sparse.values.name}`"
            graph.initializer.append(self._tensors.densify(sparse, where))
        del graph.sparse_initializer[:]
        weights = [t.name for t in graph.initializer]
        for names in (inputs, weights):
            twice = {n for n in names if not n or names.count(n) > 1} if _repeats(names) else set()
            if twice:
                raise _naming(f"`{min(twice)}` is declared twice or nameless", graph.name)
        local = {*inputs, *weights}
        if hidden := sorted(local & outer):
            raise _naming(f"`{hidden[0]}` hides a name of the graph around it", graph.name)
        if depth:
            return local
        for value in graph.input:
            _feedable(value, "input")
        for value in graph.output:
            _feedable(value, "output")
        return local

    def _node(self, node: onnx.NodeProto, visible: frozenset[str], depth: int) -> set[str]:
        """Check a node in place and return all names that it reads."""
        node.domain = "" if node.domain == "ai.onnx" else node.domain
        node.doc_string = ""
        # The runtime refuses names that repeat, and loads nodes without one.
        node.name = "" if node.name in self._names else node.name
        self._names.add(node.name)
        del node.metadata_props[:], node.device_configurations[:]
        _obeys(node, self._operator(node))
        reads = {name for name in node.input if name}
        names = [a.name for a in node.attribute]
        if _repeats(names):
            raise _naming("an attribute is given twice or nameless", label(node))
        for attribute in node.attribute:
            reads |= self._attribute(node, attribute, visible, depth)
        return reads

    def _attribute(
        self, node: onnx.NodeProto, attribute: Any, visible: frozenset[str], depth: int
    ) -> set[str]:
        where = f"attribute `{attribute.name}` of {label(node)}"
        field = FIELDS.get(attribute.type)
        filled = {f.name for f, _ in attribute.ListFields()} & set(FIELDS.values())
        if field is None or not filled <= {field} or attribute.ref_attr_name:
            raise ModelError(
                "E404",
                f"{where} is malformed",
                why=f"type {attribute.type}, holding {', '.join(sorted(filled)) or 'nothing'}",
                fix="export the model again",
            )
        attribute.doc_string = ""
        for tensor in [attribute.t] if field == "t" else attribute.tensors:
            self._tensors.embed(tensor, where)
        if field == "sparse_tensor":
            dense = self._tensors.densify(attribute.sparse_tensor, where)
            attribute.Clear()
            attribute.name, attribute.type = "value", attribute.TENSOR
            attribute.t.CopyFrom(dense)
        reads: set[str] = set()
        for graph in [attribute.g] if field == "g" else attribute.graphs:
            reads |= self.graph(graph, visible, depth + 1)
        return reads

    def _operator(self, node: onnx.NodeProto) -> Any:
        """Return the schema of a node's operator; None for ONNX Runtime's own."""
        from onnx import defs

        key = (node.domain, node.op_type)
        if key in self._schemas:
            return self._schemas[key]
        if node.domain not in DOMAINS:
            raise ModelError(
                "E403",
                f"operator `{node.domain}.{node.op_type}` is not part of ONNX",
                where=label(node),
                fix=FOREIGN.get(
                    node.domain,
                    "write it with operators of ONNX, or as a function of the model, and export "
                    "again; or cut the model off before it",
                ),
            )
        version = self._versions.get(node.domain)
        if version is None or node.overload or not node.op_type:
            raise ModelError(
                "E403",
                f"operator `{node.op_type}` has no version to go by",
                why=f"the model imports no opset of the domain `{node.domain}`",
                where=label(node),
                fix="export the model again",
            )
        schema = None
        if node.domain != "com.microsoft":
            if defs.has(node.op_type, version, node.domain):
                schema = defs.get_schema(node.op_type, version, node.domain)
            if schema is None or schema.deprecated:
                raise ModelError(
                    "E403",
                    f"operator `{node.op_type}` does not exist at opset {version}",
                    where=label(node),
                    fix="export the model again at a matching opset",
                )
        self._schemas[key] = schema
        self.domains.add(node.domain)
        return schema


FIELDS = {
    1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 9: "tensors",
    10: "graphs", 11: "sparse_tensor",
}  # fmt: skip
"""The field that each `AttributeProto.AttributeType` fills, for those that an operator may take."""


def _feedable(value: onnx.ValueInfoProto, kind: str) -> None:
    """Refuse inputs and outputs that do not travel: all but tensors of numbers."""
    held = value.type.WhichOneof("value")
    if held not in {"tensor_type", None} or (held is None and kind == "input"):
        what = (held or "nothing that is known").removesuffix("_type")
        raise ModelError(
            "E413",
            f"{kind} `{value.name}` is not a tensor",
            why=f"it is of the type {what}",
            fix=f"export the model with tensors as its {kind}s",
        )
    if value.type.tensor_type.elem_type == STRING:
        raise ModelError(
            "E419",
            f"{kind} `{value.name}` holds strings",
            why="devices are fed numbers, and answer numbers",
            fix="cut the tokeniser off, and feed token ids; or leave the output of labels out",
        )


def _obeys(node: onnx.NodeProto, schema: Any) -> None:
    """Hold a node's inputs, outputs and attributes against the definition of its operator."""
    if schema is None:
        return
    given = {a.name: a.type for a in node.attribute}
    known = {name: attribute.type.value for name, attribute in schema.attributes.items()}
    missing = {name for name, a in schema.attributes.items() if a.required} - given.keys()
    if not schema.min_input <= len(node.input) <= schema.max_input:
        why = f"it has {len(node.input)} inputs"
    elif not schema.min_output <= len(node.output) <= schema.max_output:
        why = f"it has {len(node.output)} outputs"
    elif wrong := sorted(name for name, kind in given.items() if known.get(name) != kind):
        why = f"it has no attribute `{wrong[0]}` of type {given[wrong[0]]}"
    elif missing:
        why = f"its attribute `{min(missing)}` is missing"
    else:
        return
    raise ModelError("E404", f"{label(node)} is malformed", why=why, fix="export the model again")


def label(node: onnx.NodeProto) -> str:
    """Name a node for a message."""
    name = node.name or next((o for o in node.output if o), "")
    return f"node `{name}` ({node.op_type})"


def _sort(graph: onnx.GraphProto, reads: list[set[str]], made: dict[str, int]) -> None:
    """Put nodes behind those that they read from."""
    before = [{made[name] for name in names if name in made} for names in reads]
    if all(all(b < i for b in earlier) for i, earlier in enumerate(before)):
        return
    try:
        order = list(TopologicalSorter(dict(enumerate(before))).static_order())
    except CycleError as problem:
        node = graph.node[problem.args[1][0]]
        raise _naming("nodes feed each other in a circle", label(node)) from problem
    nodes = [type(node).FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes[i] for i in order)


def _repeats(names: list[str]) -> bool:
    return "" in names or len(set(names)) != len(names)


def _naming(what: str, where: str) -> ModelError:
    return ModelError("E405", what, where=where, fix="export the model again")
