import numpy as np
import pytest

from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.agreement import agreement
from edgepack.graph.runner import ChildRunner
from edgepack.quantize.quantize import Quantize
from edgepack.types import EXACT_INT8, SessionSettings
from tests.unit.quantize.scene import (
    Data,
    context,
    convnet,
    encoder,
    graph,
    kinds,
    pictures,
    sentences,
)


def answers(one: Graph, data: Data, settings: SessionSettings | None = None):
    with ChildRunner().open(one, settings) as session:
        return [session.run(inputs) for sample in data for inputs in sample.inputs]


def cosines(before: Graph, after: Graph, data: Data) -> list[float]:
    pairs = zip(answers(before, data), answers(after, data), strict=True)
    return [agreement(a, b).cosine for a, b in pairs]


@pytest.mark.parametrize("options", [{}, {"weight_type": "u8"}, {"reduce_range": True}])
def test_a_convolutional_network_runs_wholly_in_integers_and_exactly(tmp_path, options):
    data = pictures()
    before = graph(convnet())
    scene = context(tmp_path, data)
    after = Quantize(scheme="w8a8-static", **options).apply(before, scene)
    assert (after.scheme, after.tolerance.exact) == ("w8a8-static", True)
    assert scene.events.decided["left"] == {}
    assert min(cosines(before, after, data)) > 0.99
    wide = answers(after, data, SessionSettings(entries=EXACT_INT8))
    for got, expected in zip(answers(after, data), wide, strict=True):
        assert agreement(expected, got).exact


@pytest.mark.parametrize("scheme", ["w8a8-static", "w8-dynamic"])
def test_a_target_that_saturates_refuses_what_is_not_safe(tmp_path, scheme):
    scene = context(tmp_path, sentences())
    target = Quantize(scheme=scheme, saturates=True)
    with pytest.raises(ModelError) as refused:
        target.apply(graph(encoder()), scene)
    assert refused.value.code == "E453"
    unsigned = {"weight_type": "u8", "dynamic_weight_type": "u8"}
    for safe in (unsigned, {"reduce_range": True}):
        target.model_copy(update=safe).apply(graph(encoder()), scene)


@pytest.mark.parametrize("options", [{}, {"dynamic_weight_type": "u8"}, {"scheme": "w8a8-static"}])
def test_an_encoder_keeps_its_answers_in_a_quarter_of_the_bytes(tmp_path, options):
    data = sentences()
    before = graph(encoder())
    scene = context(tmp_path, data)
    after = Quantize(**{"scheme": "w8-dynamic", **options}).apply(before, scene)
    assert after.scheme == options.get("scheme", "w8-dynamic")
    assert not after.tolerance.exact
    assert after.facts()["bytes"] < 0.3 * before.facts()["bytes"]
    assert min(cosines(before, after, data)) > 0.99
    assert set(scene.events.decided["left"]) == {"scores", "mix"}
    assert scene.events.decided["embeddings"] == ("table",)


def test_the_same_input_gives_the_same_bytes_and_stays_as_it_is(tmp_path):
    before = graph(convnet())
    digest, data = before.digest, pictures()
    first = Quantize(scheme="w8a8-static").apply(before, context(tmp_path, data))
    second = Quantize(scheme="w8a8-static").apply(before, context(tmp_path, data))
    assert first.digest == second.digest
    assert before.digest == digest
    assert first.proto().producer_name == "scene"


def test_what_is_kept_stays_float_and_is_told(tmp_path):
    scene = context(tmp_path, pictures())
    after = Quantize(scheme="w8a8-static", keep=("fir*",)).apply(graph(convnet()), scene)
    assert scene.events.decided["left"] == {"first": "the recipe keeps it"}
    first = next(n for n in after.proto().graph.node if n.name == "first")
    assert list(first.input) == ["x", "w1", "b1"]
    assert not after.tolerance.exact


@pytest.mark.parametrize("scheme", ["w8a8-static", "w8-dynamic"])
def test_where_all_is_kept_the_model_stays_float(tmp_path, scheme):
    before = graph(convnet())
    scene = context(tmp_path, pictures(1))
    assert Quantize(scheme=scheme, keep=("*",)).apply(before, scene) is before
    assert "the model stays float" in scene.events.notes[-1]


def test_a_choice_left_open_is_not_applied(tmp_path):
    with pytest.raises(AssertionError, match="settles"):
        Quantize().apply(graph(convnet()), context(tmp_path))


def test_without_calibration_static_is_refused(tmp_path):
    with pytest.raises(ModelError) as refused:
        Quantize(scheme="w8a8-static").apply(graph(convnet()), context(tmp_path))
    assert refused.value.code == "E450"


def test_dynamic_on_convolutions_is_done_when_asked_for_and_told(tmp_path):
    scene = context(tmp_path)
    after = Quantize(scheme="w8-dynamic").apply(graph(convnet()), scene)
    assert kinds(after.proto()).count("DynamicQuantizeMatMul") == 1
    assert kinds(after.proto()).count("Conv") == 2
    assert "2 convolutions stay float" in scene.events.notes[0]


def test_what_is_quantised_already_passes_through(tmp_path):
    once = Quantize(scheme="w8-dynamic").apply(graph(encoder()), context(tmp_path))
    unlabelled = Graph.from_proto(once.proto())
    scene = context(tmp_path)
    assert Quantize(scheme="w8a8-static").apply(unlabelled, scene) is unlabelled
    assert scene.events.notes == ["the model is quantised already and stays as it is"]
    with pytest.raises(ModelError) as refused:
        Quantize(scheme="w8-dynamic", saturates=True).apply(once, context(tmp_path))
    assert refused.value.code == "E453"


def test_a_worker_that_fails_is_an_error_of_the_model(tmp_path, monkeypatch):
    import edgepack.quantize.prepared as module
    from edgepack.child import ChildError

    def fail(*_: object) -> None:
        raise ChildError("raised", "ValueError: no")

    monkeypatch.setattr(module, "call", fail)
    with pytest.raises(ModelError) as refused:
        Quantize(scheme="w8-dynamic").apply(graph(convnet()), context(tmp_path))
    assert (refused.value.code, refused.value.why) == ("E454", "ValueError: no")


def test_dynamic_axes_and_batches_still_work(tmp_path):
    after = Quantize(scheme="w8a8-static").apply(graph(convnet()), context(tmp_path, pictures()))
    with ChildRunner().open(after) as session:
        batch = session.run({"x": np.zeros((3, 3, 8, 8), np.float32)})["y"]
    assert batch.shape == (3, 5)


@pytest.mark.parametrize("types", ["u8 s8", "s8 s8", "u8 u8"])
@pytest.mark.parametrize(
    ("per_channel", "symmetric", "reduce_range"),
    [(True, False, False), (False, True, True)],
    ids=["channel", "tensor-symmetric-reduced"],
)
def test_types_and_symmetry_keep_the_answers(tmp_path, types, per_channel, symmetric, reduce_range):
    activation, kind = types.split()
    data, before = pictures(2), graph(convnet())
    after = Quantize(
        scheme="w8a8-static",
        activation_type=activation,
        weight_type=kind,
        per_channel=per_channel,
        weight_symmetric=per_channel,
        activation_symmetric=symmetric,
        reduce_range=reduce_range,
    ).apply(before, context(tmp_path, data))
    assert min(cosines(before, after, data)) > 0.99
    # Off ARM, signed activations are computed in float around convolutions.
    assert after.tolerance.exact == (activation == "u8")


def test_a_scale_a_channel_forbids_lopsided_weights():
    with pytest.raises(ValueError, match="per_channel = false"):
        Quantize(per_channel=True, weight_symmetric=False)
    Quantize(per_channel=False, weight_symmetric=False)


@pytest.mark.parametrize(
    ("operators", "left"),
    [(("Conv",), {"head"}), (("Gemm",), {"first", "depthwise"})],
    ids=["Conv", "Gemm"],
)
def test_a_scheme_confined_to_operators_leaves_the_others_float(tmp_path, operators, left):
    scene, data = context(tmp_path, pictures()), pictures()
    before = graph(convnet())
    one = Quantize(scheme="w8a8-static", operators=operators)
    after = one.apply(before, scene)
    assert set(scene.events.decided["left"]) == left
    assert min(cosines(before, after, data)) > 0.99
    with pytest.raises(ModelError) as refused:
        Quantize(scheme="w8-dynamic", operators=("Conv",)).apply(before, scene)
    assert refused.value.code == "E455"


def test_the_report_tells_ranges_and_what_they_clip(tmp_path):
    scene = context(tmp_path, pictures())
    Quantize(scheme="w8a8-static", calibration="percentile", percentile=90).apply(
        graph(convnet()), scene
    )
    table = scene.events.decided["calibration"]
    assert table["method"] == "percentile"
    assert 0.05 < table["ranges"]["x"]["clipped"] <= 0.1


@pytest.mark.parametrize("scheme", ["w8-dynamic", "w8a8-static"])
def test_a_table_whose_reader_is_kept_stays_float(tmp_path, scheme):
    scene = context(tmp_path, sentences())
    after = Quantize(scheme=scheme, keep=("emb*",)).apply(graph(encoder()), scene)
    assert scene.events.decided["embeddings"] == ()
    assert "table" in {tensor.name for tensor in after.proto().graph.initializer}
