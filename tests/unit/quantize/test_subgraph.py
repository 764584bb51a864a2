import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepack.errors import ModelError
from edgepack.quantize.quantize import Quantize
from edgepack.types import Sample
from tests.unit.quantize.scene import (
    DRAW,
    Data,
    context,
    convnet,
    graph,
    kinds,
    model,
    pictures,
    tensor,
    weight,
)
from tests.unit.quantize.test_quantize import cosines


def branching() -> onnx.ModelProto:
    """A product, and a branch whose product reads a weight of the outer graph."""
    node = helper.make_node
    value = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    inner = helper.make_graph([node("MatMul", ["h", "inside"], ["z"], name="in")], "yes", [], value)
    same = helper.make_graph([node("Identity", ["h"], ["z"], name="same")], "no", [], value)
    return model(
        [
            node("MatMul", ["x", "w"], ["h"], name="out"),
            node("ReduceMax", ["x"], ["top"], name="top", keepdims=0),
            node("Greater", ["top", "limit"], ["positive"], name="ask"),
            node("If", ["positive"], ["y"], name="if", then_branch=inner, else_branch=same),
        ],
        [tensor("x", "n", 32)],
        [tensor("y", "n", 32)],
        [
            weight("w", 32, 32),
            weight("inside", 32, 32),
            numpy_helper.from_array(np.float32(0), "limit"),
        ],
    )


@pytest.mark.parametrize("scheme", ["w8a8-static", "w8-dynamic", "fp16"])
def test_what_lies_in_a_branch_stays_float_and_keeps_its_weights(tmp_path, scheme):
    draws = (sign * np.abs(DRAW.normal(0, 1, (1, 32))) for sign in (1, -1, 1))
    data = Data([Sample(inputs=({"x": x.astype(np.float32)},)) for x in draws])
    before = graph(branching())
    after = Quantize(scheme=scheme).apply(before, context(tmp_path, data))
    branch = next(n for n in after.proto().graph.node if n.op_type == "If").attribute[0].g
    assert [node.op_type for node in branch.node] == [
        node.op_type for node in branching().graph.node[3].attribute[0].g.node
    ]
    assert after.facts()["bytes"] < before.facts()["bytes"]
    assert min(cosines(before, after, data)) > 0.99


def test_an_old_opset_is_quantised_a_tensor_or_refused_a_channel(tmp_path):
    proto = convnet()
    proto.opset_import[0].version = 12
    proto.ir_version = 7
    data = pictures(2)
    with pytest.raises(ModelError) as refused:
        Quantize(scheme="w8a8-static").apply(graph(proto), context(tmp_path, data))
    assert refused.value.code == "E456"
    one = Quantize(scheme="w8a8-static", per_channel=False)
    after = one.apply(graph(proto), context(tmp_path, data))
    assert "QuantizeLinear" in kinds(after.proto())
    assert min(cosines(graph(proto), after, data)) > 0.99
