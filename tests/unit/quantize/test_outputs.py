import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgepack.graph.runner import ChildRunner
from edgepack.quantize.quantize import Quantize
from edgepack.types import Sample
from tests.unit.quantize.scene import Data, context, graph, model, tensor

node = helper.make_node
SCORES = np.array([[1, 1], [0.5, 1]], np.float32)


def classifier(last):
    """A convolution that changes nothing, and two scores: a + b / 2 and a + b."""
    first, final = np.eye(2)[:, :, None, None], SCORES
    if last == "Conv":
        head = [node("Conv", ["r", "v"], ["y"], name="last")]
        final = SCORES.T[:, :, None, None]
    else:
        head = [node("Flatten", ["r"], ["f"]), node(last, ["f", "v"], ["y"], name="last")]
    nodes = [node("Conv", ["x", "w"], ["c"], name="first"), node("Relu", ["c"], ["r"]), *head]
    stored = {"w": first, "v": final}
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in stored.items()]
    shape = ("n", 2, 1, 1) if last == "Conv" else ("n", 2)
    return graph(model(nodes, [tensor("x", "n", 2, 1, 1)], [tensor("y", *shape)], weights))


def sample(*values):
    return {"x": np.array(values, np.float32).reshape(1, 2, 1, 1)}


@pytest.mark.parametrize(
    ("last", "scores"), [("Gemm", (1.5, 2)), ("MatMul", (1.5, 2)), ("Conv", (1, 1))]
)
def test_products_answer_beyond_what_calibration_saw(tmp_path, last, scores):
    data = Data([Sample(inputs=(sample(*values),)) for values in ((1, 0), (0, 1), (0.5, 0.2))])
    after = Quantize(scheme="w8a8-static").apply(classifier(last), context(tmp_path, data))
    assert after.tolerance.exact
    assert after.outputs == classifier(last).outputs
    with ChildRunner().open(after) as session:
        got = session.run(sample(1, 1))["y"].reshape(-1)
    assert np.allclose(got, scores, atol=0.01)
