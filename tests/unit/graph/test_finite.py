"""Weights that diverged are named; infinities that are meant pass."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, numpy_helper

from edgepack.errors import ModelError
from edgepack.graph import finite

from .build import linear, parsed, with_weight


def refusal(model):
    with pytest.raises(ModelError) as caught:
        finite.refuse_diverged(ir.from_proto(model))
    assert caught.value.code == "E408"
    return caught.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__
)
def test_weights_are_finite(value, dtype):
    weight = np.ones((2, 3), np.float32)
    weight[1, 2] = value
    problem = refusal(with_weight(ir.to_proto(ir.tensor(weight.astype(dtype)))))
    assert problem.what == f"1 tensor holds {'NaN' if np.isnan(value) else 'infinite values'}"
    assert problem.where == "`w`"


def test_the_last_piece_of_a_large_tensor_is_looked_at(monkeypatch):
    monkeypatch.setattr(finite, "PIECE", 4)
    weight = np.array([[0, 0, 0], [0, 0, np.nan]], np.float32)
    assert "NaN" in refusal(with_weight(numpy_helper.from_array(weight))).what


def test_the_first_few_are_named_and_all_are_counted():
    model = linear()
    for index in range(6):
        model.graph.initializer.append(
            TensorProto(name=f"n{index}", data_type=1, dims=[1], float_data=[float("nan")])
        )
    problem = refusal(model)
    assert problem.what == "6 tensors hold NaN"
    assert problem.where == "`n0`, `n1`, `n2`, `n3` and 2 more"


def put(body, **arrays):
    model = parsed(body)
    for name, value in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, "f4"), name))
    return model


MASK = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
ALIBI = MASK + np.arange(4, dtype=np.float32)


@pytest.mark.parametrize(
    "model",
    [
        put("g (float[4,4] x) => (float[4,4] y) { y = Add(x, m) }", m=MASK),
        put("g (float[4,4] x) => (float[4,4] y) { y = Add(x, m) }", m=ALIBI),
        put("g (float[4,4] x) => (float[4,4] y) { y = Max(x, m) }", m=-np.inf),
        put("g (float[4,4] x) => (float[4,4] y) { y = Clip(x, , m) }", m=np.inf),
        put("g (bool[4,4] c, float[4,4] x) => (float[4,4] y) { y = Where(c, x, m) }", m=-np.inf),
        put("g (int64[N] i) => (float[N,4] y) { y = Gather(m, i) }", m=MASK),
    ],
)
def test_masks_and_limits_may_be_infinite(model):
    finite.refuse_diverged(ir.from_proto(model))


@pytest.mark.parametrize(
    "model",
    [
        put("g (int64[N] i) => (float[N,4] y) { y = Gather(m, i) }", m=ALIBI),
        put("g (float[N,4] x) => (float[N,4] y) { t = Transpose(m) y = MatMul(x, t) }", m=MASK),
        put("""g (bool c, float[N,4] x) => (float[N,4] y) {
               y = If (c) <then_branch = a () => (float[N,4] p) { p = Gemm(x, m) },
                           else_branch = b () => (float[N,4] q) { q = Abs(x) }> }""", m=MASK),
    ],
)  # fmt: skip
def test_layers_may_not_compute_with_infinities(model):
    problem = refusal(model)
    assert problem.where == "`m`"
    assert "computes with it" in problem.why


def test_integers_and_texts_are_not_looked_at():
    texts = TensorProto(name="text", data_type=TensorProto.STRING, dims=[1], string_data=[b"nan"])
    model = linear()
    model.graph.initializer.append(texts)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((2, 2), np.int64), "i"))
    finite.refuse_diverged(ir.from_proto(model))


def test_thousands_of_moves_between_weight_and_layer_are_followed():
    steps = " ".join(f"t{i + 1} = Identity(t{i})" for i in range(3000))
    body = f"g (float[N,4] x) => (float[N,4] y) {{ {steps} y = MatMul(x, t3000) }}"
    assert "MatMul" in refusal(put(body, t0=MASK)).why
