import numpy as np
import pytest
from onnx import numpy_helper

from edgepack.graph import Graph
from edgepack.graph.products import multiply_adds
from edgepack.graph.runner import ChildRunner

from .build import parsed


def work(body: str, *feed: int, **shapes) -> int:
    model = parsed(body)
    for name, shape in shapes.items():
        array = np.ones(shape, np.int8 if name.endswith("8") else np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    x = np.ones(feed, np.float32)
    return multiply_adds(Graph.from_proto(model), {"x": x}, ChildRunner())


@pytest.mark.parametrize(
    ("body", "feed", "shapes", "count"),
    [
        ("g (float[N,3,H,W] x) => (float[N,8,P,Q] y) { y = Conv <pads = [1,1,1,1]> (x, k) }",
         (2, 3, 5, 7), {"k": (8, 3, 3, 3)}, 2 * 8 * 5 * 7 * 27),
        ("g (float[N,4,H,W] x) => (float[N,4,P,Q] y) { y = Conv <group = 4> (x, k) }",
         (1, 4, 5, 5), {"k": (4, 1, 3, 3)}, 4 * 9 * 9),
        ("g (float[N,4,H,W] x) => (float[N,2,P,Q] y) { y = ConvTranspose <strides=[2,2]> (x, k) }",
         (1, 4, 3, 3), {"k": (4, 2, 2, 2)}, 4 * 9 * 8),
        ("g (float[N,T,6] x) => (float[N,T,3] y) { y = MatMul (x, w) }",
         (2, 5, 6), {"w": (6, 3)}, 2 * 5 * 6 * 3),
        ("""g (float[N,T,6] x) => (float[N,T,A] y) {
             t = Transpose <perm = [0,2,1]> (x) y = MatMul (x, t) }""",
         (2, 5, 6), {}, 2 * 5 * 5 * 6),
        ("g (float[N,6] x) => (float[N,3] y) { y = Gemm <transB = 1> (x, w) }",
         (4, 6), {"w": (3, 6)}, 4 * 6 * 3),
        ("""g (float[N,6] x) => (float[N,3] y) {
             d = DequantizeLinear (w8, s) y = MatMul (x, d) }""",
         (4, 6), {"w8": (6, 3), "s": ()}, 4 * 6 * 3),
        ("g (float[S,1,6] x) => (float[S,1,1,5] y) { y = LSTM <hidden_size = 5> (x, w, r) }",
         (7, 1, 6), {"w": (1, 20, 6), "r": (1, 20, 5)}, 7 * (20 * 6 + 20 * 5)),
        ("""g (float[N,T,6] x) => (float[N,T,4] y) {
             y = com.microsoft.Attention <num_heads = 2> (x, w, b) }""",
         (2, 5, 6), {"w": (6, 12), "b": (12,)}, 2 * 5 * (6 * 12 + 2 * 5 * 4)),
    ],
    ids=["conv", "depthwise", "transposed", "matmul", "attention", "gemm", "scaled", "lstm",
         "fused attention"],
)  # fmt: skip
def test_work_follows_from_shapes(body, feed, shapes, count):
    assert work(body, *feed, **shapes) == count
