import numpy as np
import pytest
from onnx import helper, numpy_helper, parser

from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.optimize.sanitise import Sanitise


@pytest.fixture
def noisy():
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        noisy (float[N,2] x, bool c) => (float[N,2] y, float[2] kept) {
            a = Add (x, w)
            b = Add (a, twin)
            s = Add (b, other)
            y = If (c) <then_branch = t () => (float[N,2] p) { p = Add (s, twin) },
                        else_branch = e () => (float[N,2] q) { q = Sub (s, w) }>
        }"""
    )
    same = np.array([1, 2], np.float32)
    for name, value in {"w": same, "twin": same, "kept": same, "unused": same + 1}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.initializer.append(numpy_helper.from_array(same[None], "other"))
    model.graph.value_info.append(helper.make_tensor_value_info("a", 1, [9, 9]))
    model.graph.node[0].name = model.graph.node[1].name = "again"
    model.graph.node[0].doc_string = model.doc_string = "somewhere/model.py, line 3"
    model.graph.node[1].metadata_props.add(key="stack_trace", value="somewhere/model.py")
    model.producer_name, model.producer_version = "pytorch", "2.13.0+cpu"
    return Graph.from_proto(model)


def test_noise_goes_and_names_become_stable(noisy, context):
    before = noisy.digest
    proto = Sanitise().apply(noisy, context).proto()
    assert noisy.digest == before
    assert b"somewhere" not in proto.SerializeToString()
    assert b"pytorch" not in proto.SerializeToString()
    assert not proto.graph.value_info
    names = [n.name for n in proto.graph.node]
    assert len(set(names)) == len(names)
    assert names[0] == "again"
    assert all(names)


def test_weights_of_equal_bytes_and_shape_are_one(noisy, context):
    clean = Sanitise().apply(noisy, context)
    assert sorted(clean.model.graph.initializers) == ["kept", "other", "w"]
    found = context.events.decisions[0]
    # `unused` has bytes of its own; `other` has the bytes of `w` under another shape.
    assert (found.shared, found.unused, found.shapes, found.notes) == (1, 1, 1, 3)


def test_the_answers_stay_to_the_bit(noisy, context):
    noisy.model.graph[1].name = "apart"  # the runtime refuses a name that is given twice
    clean = Sanitise().apply(noisy, context)
    assert (clean.inputs, clean.outputs) == (noisy.inputs, noisy.outputs)
    with ChildRunner().open(noisy) as old, ChildRunner().open(clean) as new:
        for flag in (True, False):
            inputs = {"x": np.array([[0.1, 0.2]], np.float32), "c": np.array(flag)}
            before, after = old.run(inputs), new.run(inputs)
            assert {k: v.tobytes() for k, v in before.items()} == {
                k: v.tobytes() for k, v in after.items()
            }


def test_what_is_clean_stays_as_it_is(noisy, context):
    once = Sanitise().apply(noisy, context)
    twice = Sanitise().apply(once, context)
    assert twice.digest == once.digest == Sanitise().apply(noisy, context).digest
    assert set(context.events.decisions[1].model_dump().values()) == {0}
