import math

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.quantize.attention import fuse_attention
from edgepack.quantize.quantize import Quantize
from tests.unit.quantize.scene import context, kinds, model, tensor, weight

HEADS, SIZE, WIDTH, FAR = 2, 8, 16, -1e9


def constant(name, *values, kind=np.int64):
    return numpy_helper.from_array(np.array(values, kind).reshape(len(values)), name)


def heads(part, order):
    """Project x, tell heads apart and put them in an order of axes."""
    node = helper.make_node
    return [
        node("MatMul", ["x", f"w{part}"], [f"{part}p"], name=f"{part}.product"),
        node("Add", [f"{part}p", f"b{part}"], [f"{part}b"], name=f"{part}.add"),
        node("Reshape", [f"{part}b", "apart"], [f"{part}r"], name=f"{part}.apart"),
        node("Transpose", [f"{part}r"], [f"{part}t"], name=f"{part}.turn", perm=order),
    ]


def spelled(turning="at once", mask="padding", scaling="scores", divided=1.0):
    """Attention over x [n, t, 16] as exporters spell it, with an additive mask from `kept`."""
    node = helper.make_node
    whole, root = 1 / math.sqrt(SIZE) / divided, (1 / math.sqrt(SIZE) / divided) ** 0.5
    at_once = turning == "at once"
    nodes = [*heads("q", [0, 2, 1, 3]), *heads("k", [0, 2, 3, 1] if at_once else [0, 2, 1, 3])]
    nodes += heads("v", [0, 2, 1, 3])
    query, key = "qt", "kt"
    if turning == "twice":
        nodes.append(node("Transpose", ["kt"], ["k2"], name="k.again", perm=[0, 1, 3, 2]))
        key = "k2"
    if turning == "flat":
        nodes += [
            node("Shape", ["kt"], ["ks"], name="k.shape"),
            node("Gather", ["ks", "turned"], ["kz"], name="k.sizes"),
            node("Reshape", ["kt", "flat"], ["kf"], name="k.flat"),
            node("Transpose", ["kf"], ["kg"], name="k.turn.flat", perm=[0, 2, 1]),
            node("Reshape", ["kg", "kz"], ["k2"], name="k.back"),
        ]
        key = "k2"
    if scaling == "both":
        nodes += [
            node("Mul", [query, "root"], ["qm"], name="q.scale"),
            node("Mul", [key, "root"], ["km"], name="k.scale"),
        ]
        query, key = "qm", "km"
    nodes.append(node("MatMul", [query, key], ["s0"], name="scores"))
    scores = "s0"
    if scaling == "scores":
        nodes.append(node("Mul", ["s0", "whole"], ["s1"], name="scale"))
        scores = "s1"
    if scaling == "division":
        nodes.append(node("Div", ["s0", "inverse"], ["s1"], name="scale"))
        scores = "s1"
    nodes += [
        node("Cast", ["kept"], ["kept_b"], name="kept.bool", to=TensorProto.BOOL),
        node("Unsqueeze", ["kept_b", "axes"], ["kept_u"], name="kept.axes"),
        node("Where", ["kept_u", "zero", "far"], ["m0"], name="mask"),
    ]
    added = "m0"
    if mask == "causal":
        nodes.append(node("Add", ["m0", "triangle"], ["m1"], name="mask.causal"))
        added = "m1"
    if mask != "none":
        nodes.append(node("Add", [scores, added], ["s2"], name="masked"))
        scores = "s2"
    nodes += [
        node("Softmax", [scores], ["a"], name="softmax", axis=-1),
        node("MatMul", ["a", "vt"], ["o"], name="mix"),
        node("Transpose", ["o"], ["ot"], name="o.turn", perm=[0, 2, 1, 3]),
        node("Reshape", ["ot", "beside"], ["or"], name="o.beside"),
        node("MatMul", ["or", "wo"], ["y"], name="out"),
    ]
    if mask == "none":
        nodes = [n for n in nodes if not n.name.startswith(("kept", "mask"))]
    triangle = np.triu(np.full((6, 6), FAR, np.float32), 1)
    inputs = [tensor("x", "n", 6, WIDTH)]
    inputs += [] if mask == "none" else [tensor("kept", "n", 6, kind=TensorProto.INT64)]
    return model(
        nodes,
        inputs,
        [tensor("y", "n", 6, WIDTH)],
        [
            *(weight(f"w{part}", WIDTH, WIDTH, scale=0.4) for part in "qkvo"),
            *(weight(f"b{part}", WIDTH, scale=0.2) for part in "qkv"),
            constant("apart", 0, 0, -1, SIZE),
            constant("beside", 0, 0, WIDTH),
            constant("flat", -1, 6, SIZE),
            constant("turned", 0, 1, 3, 2),
            constant("axes", 1, 2),
            constant("whole", whole, kind=np.float32),
            constant("root", root, kind=np.float32),
            constant("inverse", 1 / whole, kind=np.float32),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(FAR if mask != "soft" else -3.0), "far"),
            numpy_helper.from_array(triangle, "triangle"),
        ],
    )


def fused(proto, tmp_path, keep=()):
    import onnx

    scene = context(tmp_path)
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    return fuse_attention(Graph.from_proto(inferred), keep, scene), scene.events.decided


def answers(graph, feed):
    with ChildRunner().open(graph) as session:
        return session.run(feed)["y"]


def feed(mask="padding"):
    rng = np.random.default_rng(3)
    x = {"x": rng.normal(0, 1, (2, 6, WIDTH)).astype(np.float32)}
    kept = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    return x if mask == "none" else {**x, "kept": kept}


def alike(a, b):
    return np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("turning", ["at once", "twice", "flat"])
@pytest.mark.parametrize("scaling", ["scores", "division", "both"])
def test_every_spelling_becomes_one_operator_with_the_same_answers(tmp_path, turning, scaling):
    proto = spelled(turning, scaling=scaling)
    after, decided = fused(proto, tmp_path)
    assert decided == {"applied": ("softmax",), "refused": {}}
    assert kinds(after.proto()).count("Attention") == 1
    assert {"Softmax", "Transpose", "Where"}.isdisjoint(kinds(after.proto()))
    assert answers(after, feed()) == pytest.approx(
        answers(Graph.from_proto(proto), feed()), abs=1e-5
    )


def test_an_unusual_scale_goes_into_the_queries(tmp_path):
    proto = spelled(divided=3.0)
    after, _ = fused(proto, tmp_path)
    assert answers(after, feed()) == pytest.approx(
        answers(Graph.from_proto(proto), feed()), abs=1e-5
    )


def test_attention_without_a_mask_has_none(tmp_path):
    proto = spelled(mask="none")
    after, decided = fused(proto, tmp_path)
    assert decided["applied"] == ("softmax",)
    expected = answers(Graph.from_proto(proto), feed("none"))
    assert answers(after, feed("none")) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("mask", ["causal", "soft"])
def test_a_mask_that_says_more_than_padding_is_left_alone(tmp_path, mask):
    after, decided = fused(spelled(mask=mask), tmp_path)
    assert decided["applied"] == ()
    assert "padding" in decided["refused"]["softmax"]
    assert "Attention" not in kinds(after.proto())


def test_what_the_recipe_keeps_stays_as_it_is(tmp_path):
    _, decided = fused(spelled(), tmp_path, keep=("v.product",))
    assert decided["refused"] == {"softmax": "the recipe keeps it"}


@pytest.mark.parametrize("weights", ["s8", "u8"])
def test_it_becomes_one_integer_product_that_heeds_the_mask(tmp_path, weights):
    proto = spelled()
    step = Quantize(scheme="w8-dynamic", dynamic_weight_type=weights)
    after = step.apply(Graph.from_proto(proto), context(tmp_path))
    found = kinds(after.proto())
    assert (found.count("QAttention"), found.count("DynamicQuantizeMatMul")) == (1, 1)
    assert "MatMul" not in found
    near = answers(after, feed())
    assert alike(near, answers(Graph.from_proto(proto), feed())) > 0.999
    other = feed()
    other["x"] = other["x"].copy()
    other["x"][1, 4] *= 0.5  # a key that is padding: its own place answers otherwise, no other does
    assert alike(answers(after, other)[1, :3], near[1, :3]) > 0.9995
