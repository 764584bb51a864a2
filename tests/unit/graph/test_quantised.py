"""Models that come in quantised are known by what they hold."""

import numpy as np
import pytest
from onnx import numpy_helper

from edgepack.graph import Graph
from edgepack.graph.quantised import half_weights, quantised_by

from .build import linear, parsed, with_weight

RNG = np.random.default_rng(0)


def told(body, **arrays):
    model = parsed(body)
    for name, value in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return quantised_by(Graph.from_proto(model))


BYTES = RNG.integers(-128, 128, (8, 8)).astype(np.int8)


@pytest.mark.parametrize(
    ("body", "arrays", "found"),
    [
        ("y = QuantizeLinear(x, s) z = DequantizeLinear(y, s)", {"s": np.float32(0.5)},
         "1 QuantizeLinear, 1 DequantizeLinear"),
        ("f = Cast <to = 1> (w) z = MatMul(x, f)", {"w": BYTES}, "1 int8 matrices behind Cast"),
        ("t = Transpose(w) f = Cast <to = 10> (t) z = MatMul(x, f)", {"w": BYTES},
         "1 int8 matrices behind Cast"),
        ("i = Cast <to = 7> (x) r = Gather(w, i) f = Cast <to = 1> (r) z = Relu(f)", {"w": BYTES},
         "1 int8 matrices behind Cast"),
        ("f = Cast <to = 1> (w) z = MatMul(x, f)", {"w": (BYTES > 0).astype(np.uint8)}, ""),
        ("f = Cast <to = 9> (w) z = Where(f, x, x)", {"w": BYTES}, ""),
        ("i = Cast <to = 3> (x) z = Cast <to = 1> (i)", {}, ""),
    ],
)  # fmt: skip
def test_a_model_says_how_it_is_quantised(body, arrays, found):
    assert told(f"g (float[N,8] x) => (float[N,8] z) {{ {body} }}", **arrays) == found


def test_operators_in_subgraphs_count():
    body = """g (bool c, float[N,8] x) => (float[N,8] z) { z = If (c) <
        then_branch = a () => (float[N,8] p) {
            q = QuantizeLinear(x, s) p = DequantizeLinear(q, s) },
        else_branch = b () => (float[N,8] q) { q = Neg(x) }> }"""
    assert told(body, s=np.float32(1)) == "1 QuantizeLinear, 1 DequantizeLinear"


def test_half_precision_is_counted():
    assert half_weights(Graph.from_proto(linear())) == 0
    half = with_weight(numpy_helper.from_array(np.ones((2, 3), np.float16)))
    assert half_weights(Graph.from_proto(half)) == 1
