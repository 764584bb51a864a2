"""A model's own functions are put in line, or refused before they grow."""

import time

import numpy as np
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from edgepack.errors import ModelError
from edgepack.graph.functions import inline

HEAD = '<ir_version: 8, opset_import: ["" : 17, "m" : 1]> g (float[N] x) => (float[N] y) {'


def model(body: str, *functions: str, opset: int = 17):
    told = [f'<domain: "m", opset_import: ["" : {opset}, "m" : 1]> {f}' for f in functions]
    return parser.parse_model("\n".join([f"{HEAD} {body} }}", *told]))


def test_functions_become_their_bodies():
    outer = "Outer <slope> (a) => (b) { c = m.Inner(a) b = LeakyRelu <alpha: float = @slope> (c) }"
    inner = "Inner (a) => (b) { t = Tanh(a) b = Add(t, a) }"
    given = model("z = m.Outer <slope = 0.5> (x) y = m.Inner(z)", outer, inner)
    flat = inline(given)
    assert not flat.functions
    assert [n.op_type for n in flat.graph.node] == ["Tanh", "Add", "LeakyRelu", "Tanh", "Add"]
    x = np.array([-2, 0.5], np.float32)
    z = np.where((s := np.tanh(x) + x) < 0, 0.5 * s, s)
    assert ReferenceEvaluator(flat).run(None, {"x": x})[0] == pytest.approx(np.tanh(z) + z)


def test_an_older_opset_is_no_matter_where_the_operators_are_the_same():
    assert not inline(model("y = m.F(x)", "F (a) => (b) { b = Tanh(a) }", opset=13)).functions
    with pytest.raises(ModelError, match="put in line") as caught:
        inline(model("y = m.F(x)", "F (a) => (b) { b = Relu(a) }", opset=13))
    assert caught.value.code == "E409"
    assert caught.value.why == "`F` uses `Relu` of opset 13, the model is of opset 17"


def test_a_function_s_opset_may_be_nonsense():
    with pytest.raises(ModelError, match="put in line"):
        inline(model("y = m.F(x)", "F (a) => (b) { b = Relu(a) }", opset=1 << 40))


def test_functions_that_call_themselves_are_refused():
    circle = model("y = m.F(x)", "F (a) => (b) { b = m.G(a) }", "G (a) => (b) { b = m.F(a) }")
    with pytest.raises(ModelError) as caught:
        inline(circle)
    assert caught.value.why == "`m.F` calls itself"


def test_functions_that_grow_without_measure_are_refused_at_once():
    grown = [f"F{i} (a) => (b) {{ c = m.F{i + 1}(a) b = m.F{i + 1}(c) }}" for i in range(40)]
    began = time.monotonic()
    with pytest.raises(ModelError, match="put in line") as caught:
        inline(model("y = m.F0(x)", *grown, "F40 (a) => (b) { b = Neg(a) }"))
    assert "200,000 nodes" in caught.value.why
    assert time.monotonic() - began < 1


def test_a_long_chain_is_refused():
    chain = [f"F{i} (a) => (b) {{ b = m.F{i + 1}(a) }}" for i in range(70)]
    with pytest.raises(ModelError) as caught:
        inline(model("y = m.F0(x)", *chain, "F70 (a) => (b) { b = Neg(a) }"))
    assert "64 functions deep" in caught.value.why


def test_a_function_that_nothing_calls_is_dropped():
    flat = inline(model("y = Neg(x)", "F (a) => (b) { b = m.F(a) }"))
    assert [n.op_type for n in flat.graph.node] == ["Neg"]
