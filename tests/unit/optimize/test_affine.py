import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgepack.graph import Graph
from edgepack.graph.agreement import agreement
from edgepack.optimize.affine import FuseBatchNorm


def made(body, shapes, opset=17):
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    return Graph.from_proto(model)


def fused(graph, context):
    before = graph.digest
    ours = FuseBatchNorm().apply(graph, context)
    assert graph.digest == before
    assert (ours.inputs, [v.name for v in ours.outputs]) == (
        graph.inputs,
        [v.name for v in graph.outputs],
    )
    onnx.checker.check_model(ours.proto())
    rng = np.random.default_rng(1)
    sizes = [[n if isinstance(n, int) else 6 for n in v.shape] for v in graph.inputs]
    x = {
        v.name: rng.normal(size=s).astype(np.float32)
        for v, s in zip(graph.inputs, sizes, strict=True)
    }
    with context.runner.open(graph) as a, context.runner.open(ours) as b:
        assert agreement(a.run(x), b.run(x)).relative < 1e-5
    return ours.facts()["operators"], context.events.decisions[0]


IN = "g (float[1,4,H,W] x) => (float[1,C,P,Q] y)"
NORM = {"gain": (6,), "bias": (6,), "mean": (6,), "spread": (6,)}


@pytest.mark.parametrize(
    ("base", "weight"),
    [
        ("Conv (x, w)", (6, 4, 3, 3)),
        ("Conv <group = 2, pads = [1, 1, 1, 1]> (x, w)", (6, 2, 3, 3)),
        ("Conv (x, w, b)", (6, 4, 1, 1)),
        ("ConvTranspose (x, w, b)", (4, 6, 2, 2)),
        ("ConvTranspose <group = 2, strides = [2, 2]> (x, w)", (4, 3, 2, 2)),
    ],
    ids=["plain", "grouped", "bias", "transposed", "transposed-grouped"],
)
def test_steps_after_a_convolution_go_into_its_weights(base, weight, context):
    graph = made(
        f"""{IN} {{ c = {base} d = Mul (s, c) e = Sub (d, t)
            f = BatchNormalization (e, gain, bias, mean, spread) y = Sub (one, f) }}""",
        {"w": weight, "b": (6,), "s": (6, 1, 1), "t": (1, 6, 1, 1), "one": (1,), **NORM},
    )
    operators, found = fused(graph, context)
    assert sum(operators.values()) == 1
    (gone,) = found.applied.values()
    assert gone == ("Mul_1", "Sub_2", "BatchNormalization_3", "Sub_4")
    assert found.refused == {}


@pytest.mark.parametrize("transposed", [0, 1])
def test_steps_after_a_product_go_into_its_weights(transposed, context):
    graph = made(
        f"""g (float[N,4] x) => (float[N,6] y) {{ c = Gemm <transB = {transposed}> (x, w, b)
            d = Div (c, s) y = BatchNormalization (d, gain, bias, mean, spread) }}""",
        {"w": (6, 4) if transposed else (4, 6), "b": (6,), "s": (1, 6), **NORM},
    )
    assert fused(graph, context)[0] == {"Gemm": 1}


def test_numbers_in_front_go_in_where_nothing_is_padded(context):
    graph = made(
        f"{IN} {{ a = Mul (x, s) b = Add (t, a) y = Conv (b, w, c) }}",
        {"w": (6, 4, 3, 3), "s": (1,), "t": (), "c": (6,)},
    )
    assert fused(graph, context)[0] == {"Conv": 1}


def test_an_offset_stays_in_front_of_padding(context):
    body = f"{IN} {{{{ {{0}} b = Add (a, t) y = Conv <pads = [1, 1, 1, 1]> (b, w) }}}}"
    shapes = {"w": (6, 4, 3, 3), "s": (1,), "t": (1,)}
    assert fused(made(body.format("a = Mul (x, s)"), shapes), context)[0] == {"Add": 1, "Conv": 1}
    context.events.decisions.clear()
    operators, found = fused(made(body.format("a = Relu (x)"), shapes), context)
    assert operators == {"Add": 1, "Conv": 1, "Relu": 1}
    assert found.refused == {"Conv_2": "it pads with zeros what the offset would have moved"}


@pytest.mark.parametrize(
    ("body", "shapes", "operators"),
    [
        ("c = Conv (x, w) d = Mul (c, s) y = Add (c, d)", {"s": (1,)}, {"Add": 1, "Mul": 1}),
        ("c = Conv (x, w) y = Mul (c, s)", {"s": (1, 1, 1, 4)}, {"Mul": 1}),
        ("c = Conv (x, w) y = Mul (c, s)", {"s": (1, 1, 1, 1, 1)}, {"Mul": 1}),
        ("c = Conv (x, w) r = Relu (c) y = Mul (r, s)", {"s": (1,)}, {"Mul": 1, "Relu": 1}),
    ],
    ids=["read-twice", "along-a-row", "another-rank", "not-next"],
)
def test_what_weights_cannot_hold_stays(body, shapes, operators, context):
    graph = made(f"{IN} {{ {body} }}", {"w": (6, 4, 3, 3), **shapes})
    found, decision = fused(graph, context)
    assert found == {"Conv": 1, **operators}
    assert decision.applied == {}


def test_weights_that_others_read_stay_with_the_reason(context):
    graph = made(
        f"{IN} {{ c = Conv (x, w) d = Mul (c, s) e = Conv (x, w) r = Relu (e) y = Add (d, r) }}",
        {"w": (6, 4, 3, 3), "s": (1,)},
    )
    assert fused(graph, context)[1].refused == {"Conv_0": "other nodes read its weights"}


def test_a_constant_that_others_read_is_kept_for_them(context):
    graph = made(
        f"""{IN} {{ c = Conv (x, w, b) d = Mul (c, s) q = Relu (d) e = Mul (q, s) r = Relu (e)
            y = Conv (r, w2, b) }}""",
        {"w": (6, 4, 1, 1), "w2": (6, 6, 1, 1), "b": (6,), "s": (1,)},
    )
    assert fused(graph, context)[0] == {"Conv": 2, "Mul": 1, "Relu": 2}


def test_what_would_move_the_answers_is_not_kept(context, monkeypatch):
    monkeypatch.setattr("edgepack.optimize.affine.objection", lambda *_: "they would move")
    graph = made(f"{IN} {{ c = Conv (x, w) y = Mul (c, s) }}", {"w": (6, 4, 3, 3), "s": (1,)})
    assert FuseBatchNorm().apply(graph, context) is graph
    assert context.events.decisions[0].refused == {"Conv_0": "they would move"}


def test_the_result_is_the_same_each_time(context):
    graph = made(f"{IN} {{ c = Conv (x, w) y = Mul (c, s) }}", {"w": (6, 4, 3, 3), "s": (1,)})
    ours = [FuseBatchNorm().apply(graph, context).digest for _ in range(2)]
    assert ours[0] == ours[1]


def test_a_quantised_graph_stays(convolution, context):
    graph = convolution.replace(scheme="quantised")
    assert FuseBatchNorm().apply(graph, context) is graph
