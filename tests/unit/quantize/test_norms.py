import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.quantize.dynamic import plan_dynamic, quantize_dynamic
from edgepack.quantize.norms import even_norms, plan_norms
from edgepack.quantize.residual import keep_sums
from tests.unit.quantize.scene import kinds, model, tensor, weight

X = np.random.default_rng(7).normal(0, 1, (4, 6, 32)).astype(np.float32)


def block(readers=("up",)):
    """A residual block: norm, product(s), and the sum with the norm before another norm."""
    node = helper.make_node
    gamma = np.ones(32, np.float32)
    gamma[5] = 60.0  # one channel is far larger than the rest
    made = [node("MatMul", ["n", f"w{name}"], [f"p{name}"], name=name) for name in readers]
    total = [f"p{name}" for name in readers]
    return model(
        [
            node("LayerNormalization", ["x", "gamma", "beta"], ["n"], name="norm", axis=-1),
            *made,
            node("Sum", total, ["t"], name="total"),
            node("Add", ["t", "n"], ["s"], name="residual"),
            node("LayerNormalization", ["s", "gamma2", "beta2"], ["y"], name="last", axis=-1),
        ],
        [tensor("x", "n", "t", 32)],
        [tensor("y", "n", "t", 32)],
        [
            numpy_helper.from_array(gamma, "gamma"),
            weight("beta", 32, scale=0.1),
            *(weight(f"w{name}", 32, 32, scale=0.3) for name in readers),
            weight("gamma2", 32),
            weight("beta2", 32),
        ],
    )


def answer(proto):
    with ChildRunner().open(Graph.from_proto(proto)) as session:
        return session.run({"x": X})["y"]


def prepared(**options):
    import onnx

    return onnx.shape_inference.infer_shapes(block(**options))


def test_answers_stay_and_channels_are_even():
    proto, after = prepared(), prepared()
    after.CopyFrom(proto)
    even_norms(after, plan_norms(after, {"up"}))
    assert kinds(after)[:3] == ["LayerNormalization", "Mul", "MatMul"]
    assert answer(after) == pytest.approx(answer(proto), abs=1e-4)
    held = {t.name: numpy_helper.to_array(t) for t in after.graph.initializer}
    assert np.abs(held["gamma"]).max() < 15 * np.median(np.abs(held["gamma"]))


def test_integers_err_less_after_it():
    proto = prepared()
    expected = answer(proto)
    errors = []
    for even in (False, True):
        one = prepared()
        one.CopyFrom(proto)
        plan = plan_dynamic(one, ())
        if even:
            even_norms(one, plan_norms(one, plan.nodes))
        quantize_dynamic(one, plan, signed=True, per_channel=True, narrow=False)
        errors.append(np.square(answer(one) - expected).mean())
    assert errors[1] < errors[0] / 4


def test_a_norm_that_several_products_read_is_left_alone():
    proto = prepared(readers=("query", "key"))
    assert plan_norms(proto, {"query", "key"}).norms == {}


def test_only_the_residual_before_a_norm_becomes_a_sum():
    proto = prepared()
    keep_sums(proto)
    assert kinds(proto).count("Sum") == 2
    assert "Add" not in kinds(proto)
