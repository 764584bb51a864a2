"""Legal models of unusual shapes keep their answers through the gate and every rewrite."""

import onnxruntime as ort
import pytest

from edgepack.base import Context, Silent
from edgepack.errors import ModelError
from edgepack.graph.agreement import agreement
from edgepack.graph.examples import example_inputs, workable_sizes
from edgepack.graph.gate import admit
from edgepack.graph.runner import ChildRunner
from edgepack.optimize.sanitise import Sanitise
from edgepack.optimize.simplify import Simplify
from edgepack.quantize.quantize import Quantize

from .foreign import LEGAL

QUANTISED = {
    "old_convolution", "weights_as_inputs", "many_ends", "functions", "weight_out", "same_names",
    "half_stored", "big_constant", "contributed", "too_new", "newest",
}  # fmt: skip
"""Those with a matrix product that `w8-dynamic` takes."""


@pytest.mark.parametrize("make", LEGAL, ids=lambda make: make.__name__)
def test_a_legal_model_answers_as_it_did(make, tmp_path):
    model, path = make(), tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    runner = ChildRunner()
    context = Context(work=tmp_path, seed=0, data={}, runner=runner, events=Silent())
    graph = admit(path)
    simple = Simplify(opset=20, ir=10).apply(Sanitise().apply(graph, context), context)
    assert 13 <= simple.model.opset_imports[""] <= 20
    assert simple.model.ir_version <= 10
    for number, node in enumerate(model.graph.node):  # the runtime wants names that differ
        node.name = f"{number}"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options)
    names = [o.name for o in session.get_outputs()]
    (sizes, *_) = workable_sizes(graph, runner)
    inputs = example_inputs(graph.inputs, 0, sizes)
    expected = dict(zip(names, session.run(None, inputs), strict=True))
    with runner.open(simple) as rewritten:
        assert agreement(expected, rewritten.run(inputs)).relative < 1e-5
    if make.__name__ not in QUANTISED:
        with pytest.raises(ModelError, match="finds nothing to quantise"):
            Quantize(scheme="w8-dynamic").apply(simple, context)
        return
    small = Quantize(scheme="w8-dynamic").apply(simple, context)
    with runner.open(small) as quantised:
        assert agreement(expected, quantised.run(inputs)).relative < 0.05
