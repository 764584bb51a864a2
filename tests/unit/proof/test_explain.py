import numpy as np
from onnx import numpy_helper, parser

from edgepack.base import Silent
from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.proof.explain import explain_fidelity, profile, shared
from edgepack.types import Sample

RNG = np.random.default_rng(0)


def network(worse: str = "", rounded: str = "") -> Graph:
    """Four products in a row; one with wrong weights, or one whose output is rounded coarsely."""
    steps = []
    for i in range(1, 5):
        steps.append(f"[p{i}] m{i} = MatMul (r{i - 1}, w{i})")
        m = f"m{i}"
        if rounded == m:
            steps += [
                f"{m}_q = QuantizeLinear ({m}, s, z)",
                f"{m}_DequantizeLinear_Output = DequantizeLinear ({m}_q, s, z)",
            ]
            m = f"{m}_DequantizeLinear_Output"
        steps.append(f"r{i} = Tanh ({m})")
    body = "\n".join(steps).replace("r0", "x").replace("r4", "y")
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,8] x) => (float[N,8] y) {{ {body} }}""")
    rng = np.random.default_rng(0)
    for i in range(1, 5):
        matrix = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
        matrix = matrix[::-1].copy() if worse == f"w{i}" else matrix
        model.graph.initializer.append(numpy_helper.from_array(matrix, f"w{i}"))
    if rounded:
        for name, value in (("s", np.float32(0.8)), ("z", np.uint8(128))):
            model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    return Graph.from_proto(model)


class Data(list):
    digest, generated = "", False


def samples(count=6):
    return Data(Sample(({"x": RNG.normal(size=(1, 8)).astype(np.float32)},)) for _ in range(count))


def test_the_first_layer_that_leaves_the_baseline_is_named():
    said = explain_fidelity(network(), network("w3"), samples(), ChildRunner(), Silent())
    assert "first below 0.99 at `p3` (MatMul; cosine" in said
    assert "4 of 8 compared agree before" in said
    assert "largest step at `p3` (cosine 1 to " in said


def test_what_is_quantised_is_compared_as_it_is_read():
    graph = network(rounded="m2")
    pairs = {layer.tensor: other for layer, _, other in shared(network(), graph)}
    assert pairs["m2"] == "m2_DequantizeLinear_Output"
    assert pairs["m1"] == "m1"
    feeds = [sample.inputs[0] for sample in samples(2)]
    found = profile(network(), graph, feeds, ChildRunner(), Silent())
    apart = {one.tensor: one.decibel for one in found.layers}
    assert apart["m1"] == 200
    assert 0 < apart["m2"] < 30
    assert found.steepest[1].tensor == "m2"


def test_out_of_time_is_told():
    feeds = [sample.inputs[0] for sample in samples(1)]
    found = profile(network(), network("w1"), feeds, ChildRunner(), Silent(), seconds=-1)
    assert (found.layers, found.cut_short) == ((), "0 of 8 layers in -1 s")


def test_nothing_is_said_where_nothing_is_shared_or_something_fails():
    other = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,8] x) => (float[N,8] out) { out = Exp (x) }""")
    graph = Graph.from_proto(other)
    assert explain_fidelity(network(), graph, samples(), ChildRunner(), Silent()) == ""
    assert explain_fidelity(network(), network("w1"), Data(), ChildRunner(), Silent()) == ""
    wrong = Data([Sample(({"nothing": np.zeros(1, np.float32)},))])
    assert explain_fidelity(network(), network("w1"), wrong, ChildRunner(), Silent()) == ""
