import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.quantize.dynamic import plan_dynamic, quantize_dynamic
from tests.unit.quantize.scene import kinds, model, tensor, weight

X = np.random.default_rng(5).normal(0, 1, (3, 16)).astype(np.float32)


def products(second_input="x", bias="b"):
    """Two products with an Add each, and a Gemm behind them."""
    node = helper.make_node
    return model(
        [
            node("MatMul", ["x", "w1"], ["p1"], name="first"),
            node("Add", ["p1", "b"], ["a1"], name="first.add"),
            node("Relu", ["a1"], ["r1"], name="relu"),
            node("MatMul", [second_input, "w2"], ["p2"], name="second"),
            node("Add", [bias, "p2"], ["a2"], name="second.add"),
            node("Add", ["a1", "a2"], ["s"], name="sum"),
            node("Gemm", ["s", "w3", "c"], ["y"], name="last", transB=1),
        ],
        [tensor("x", "n", 16)],
        [tensor("y", "n", 5)],
        [
            *(weight(f"w{n}", 16, 16, scale=0.3) for n in (1, 2)),
            weight("w3", 5, 16),
            *(weight(name, 16) for name in ("b", "b2")),
            weight("c", 5),
        ],
    )


def quantised(proto, *, signed=True):
    import onnx

    inferred = onnx.shape_inference.infer_shapes(proto)
    plan = plan_dynamic(inferred, ())
    quantize_dynamic(inferred, plan, signed=signed, per_channel=True, narrow=False)
    return inferred, plan


def answer(proto):
    with ChildRunner().open(Graph.from_proto(proto)) as session:
        return session.run({"x": X})["y"]


@pytest.mark.parametrize("signed", [True, False])
def test_biases_go_into_products_and_a_shared_input_is_rounded_once(signed):
    proto = products(bias="b2")
    after, plan = quantised(proto, signed=signed)
    assert plan.biases == {"first": "first.add", "second": "second.add"}
    assert [k for k in kinds(after) if k not in {"Relu", "Add"}] == [
        "DynamicQuantizeLinear",
        "MatMulIntegerToFloat",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
    ]
    assert kinds(after).count("Add") == 1
    assert answer(after) == pytest.approx(answer(proto), abs=0.15)


def test_inputs_of_their_own_are_rounded_by_the_kernel():
    after, _ = quantised(products(second_input="r1", bias="b2"))
    assert kinds(after).count("DynamicQuantizeMatMul") == 3


def test_signed_weights_carry_no_zero_points_and_unsigned_ones_do():
    names = [
        {t.name for t in quantised(products(bias="b2"), signed=s)[0].graph.initializer}
        for s in (True, False)
    ]
    assert [{"w1.zero", "w2.zero", "w3.T.zero"} & found for found in names] == [
        set(),
        {"w1.zero", "w2.zero", "w3.T.zero"},
    ]


@pytest.mark.parametrize("spoil", ["output", "reader", "shape"])
def test_an_addition_that_is_no_bias_stays(spoil):
    proto = products(bias="b2")
    if spoil == "output":
        proto.graph.output.append(tensor("p1", "n", 16))
    elif spoil == "reader":
        proto.graph.node[2].input[0] = "p1"
    else:
        held = next(t for t in proto.graph.initializer if t.name == "b")
        held.CopyFrom(numpy_helper.from_array(np.ones((1, 16), np.float32), "b"))
    after, plan = quantised(proto)
    assert set(plan.biases) == {"second"}
    assert answer(after) == pytest.approx(answer(proto), abs=0.15)
