import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.quantize.exact import exact
from tests.unit.quantize.scene import convnet, model, tensor


def unit(kind, *, last=True, scale="s", extra=()):
    """`kind` between DequantizeLinear and, if `last`, QuantizeLinear."""
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", scale, "z"], ["xq"]),
        node("DequantizeLinear", ["xq", scale, "z"], ["xd"]),
        node(kind, ["xd"], ["y" if not last else "v"]),
        *extra,
    ]
    if last:
        nodes += [
            node("QuantizeLinear", ["v", "s", "z"], ["vq"]),
            node("DequantizeLinear", ["vq", "s", "z"], ["y"]),
        ]
    scalars = [
        numpy_helper.from_array(np.float32(0.1), "s"),
        numpy_helper.from_array(np.uint8(0), "z"),
    ]
    return model(nodes, [tensor("x", 1, 2, 3, 3)], [tensor("y", 1, 2, 3, 3)], scalars)


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (unit("GlobalAveragePool"), True),
        (unit("GlobalAveragePool", last=False), False),
        (unit("Softmax"), False),
        (unit("Relu", last=False), True),
        (unit("GlobalAveragePool", scale="x"), False),
        (unit("GlobalAveragePool", extra=[helper.make_node("Exp", ["v"], ["e"])]), False),
        (convnet(), False),
    ],
)
def test_only_integer_units_movement_and_single_operations_are_exact(proto, expected):
    assert exact(proto) is expected
