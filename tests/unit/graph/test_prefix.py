import numpy as np
from onnx import numpy_helper

from edgepack.graph import Graph
from edgepack.graph.prefix import cuts, exposed, layers, prefix
from edgepack.graph.runner import ChildRunner

from .build import parsed

X = {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}


def weights(model, **shapes):
    """Give a model float weights of these shapes."""
    for name, shape in shapes.items():
        value = np.random.default_rng(len(name)).uniform(-1, 1, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def branches() -> Graph:
    """Two branches from one product; a constant that no input decides."""
    model = parsed("""g (float[N,4] x) => (float[N,4] y) {
        a = MatMul (x, w)  k = Add (b, b)  c = Tanh (a)
        d = Mul (a, k)  e = Add (c, d)  y = Relu (e) }""")
    return Graph.from_proto(weights(model, w=(4, 4), b=(4,)))


def quantised() -> Graph:
    """Two quantised products as tools write them; the first ends in a Relu."""
    model = parsed("""g (float[N,4] x) => (float[N,4] y) {
        xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
        [first] a = MatMul (xd, w)  r = Relu (a)
        rq = QuantizeLinear (r, s, z)  rd = DequantizeLinear (rq, s, z)
        [second] b = MatMul (rd, w)
        bq = QuantizeLinear (b, s, z)  y = DequantizeLinear (bq, s, z) }""")
    scale, zero = np.float32(0.02), np.uint8(128)
    for name, value in (("s", scale), ("z", zero)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    return Graph.from_proto(weights(model, w=(4, 4)))


def run(graph: Graph):
    with ChildRunner().open(graph) as session:
        return session.run(X)


def test_layers_are_what_the_inputs_decide():
    assert [layer.tensor for layer in layers(branches())] == ["a", "c", "d", "e", "y"]
    assert layers(branches())[3].operator == "Add"


def test_a_prefix_answers_what_is_read_beyond_it_and_no_more():
    graph = branches()
    whole = run(exposed(graph, ["a", "c", "d", "e"]))
    for tensor, answered in {"a": {"a"}, "c": {"c", "a"}, "d": {"d", "c"}, "e": {"e"}}.items():
        cut = prefix(graph, tensor)
        found = run(cut)
        assert found.keys() == answered, tensor
        assert all(np.array_equal(found[name], whole[name]) for name in found)
    assert [n.op_type for n in prefix(graph, "c").model.graph] == ["MatMul", "Tanh"]
    assert len(list(graph.model.graph)) == 6


def test_cuts_leave_integer_kernels_whole():
    graph = quantised()
    found = cuts(graph)
    assert [cut.tensor for cut in found] == ["xq", "rq", "bq"]
    assert [cut.node for cut in found[1:]] == ["first", "second"]
    assert run(prefix(graph, "rq"))["rq"].dtype == np.uint8
    assert run(prefix(graph, "rq")).keys() == {"rq"}


def test_a_skip_around_a_kernel_is_answered_too():
    model = quantised().proto()
    skip = parsed("""g (float[N,4] x) => (float[N,4] y) {
        xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
        a = MatMul (xd, w)  aq = QuantizeLinear (a, s, z)  ad = DequantizeLinear (aq, s, z)
        y = Add (ad, xd) }""")
    skip.graph.initializer.extend(model.graph.initializer)
    assert run(prefix(Graph.from_proto(skip), "aq")).keys() == {"aq", "xq"}


def test_nodes_out_of_order_are_put_in_order_first():
    model = branches().proto()
    nodes = [type(node).FromString(node.SerializeToString()) for node in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph = Graph.from_proto(model)
    assert {layer.tensor for layer in layers(graph)} == {"a", "c", "d", "e", "y"}
    assert layers(graph)[0].tensor == "a"
    assert np.array_equal(run(exposed(graph, ["c"]))["c"], run(prefix(branches(), "c"))["c"])
    assert next(iter(graph.model.graph)).op_type == "Relu"
