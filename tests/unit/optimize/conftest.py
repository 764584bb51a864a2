import numpy as np
import pytest
from onnx import helper, numpy_helper, parser

from edgepack.base import Context
from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner


class Events:
    """Keeps what a pass says."""

    def __init__(self):
        self.notes = []
        self.decisions = []

    def progress(self, what, done, total):
        pass

    def note(self, text):
        self.notes.append(text)

    def decision(self, value):
        self.decisions.append(value)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "work").mkdir()
    return Context(work=tmp_path / "work", seed=0, data={}, runner=ChildRunner(), events=Events())


@pytest.fixture
def convolution():
    """A convolution, its batch norm, an activation, and a constant chain; opset 17."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        convolution (float[N,2,H,W] x) => (float[N,3,P,Q] y) {
            c = Conv (x, w)
            b = BatchNormalization (c, gain, bias, mean, spread)
            two = Constant <value = float {2.0}> ()
            half = Reciprocal (two)
            one = Mul (two, half)
            i = Identity (b)
            y = Mul (i, one)
        }"""
    )
    rng = np.random.default_rng(0)
    shapes = {"w": (3, 2, 3, 3), "gain": (3,), "bias": (3,), "mean": (3,), "spread": (3,)}
    for name, shape in shapes.items():
        value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, ["N", 3, None, None]))
    return Graph.from_proto(model)
