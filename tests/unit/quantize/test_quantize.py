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
    after = Quantize(**options).apply(before, scene)
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
    after = Quantize(**options).apply(before, scene)
    assert after.scheme == options.get("scheme", "w8-dynamic")
    assert not after.tolerance.exact
    assert after.facts()["bytes"] < 0.3 * before.facts()["bytes"]
    assert min(cosines(before, after, data)) > 0.99
    assert set(scene.events.decided["left"]) == {"scores", "mix"}
    assert scene.events.decided["embeddings"] == ("table",)


def test_the_same_input_gives_the_same_bytes_and_stays_as_it_is(tmp_path):
    before = graph(convnet())
    digest, data = before.digest, pictures()
    first = Quantize().apply(before, context(tmp_path, data))
    second = Quantize().apply(before, context(tmp_path, data))
    assert first.digest == second.digest
    assert before.digest == digest
    assert first.proto().producer_name == "scene"


def test_what_is_kept_stays_float_and_is_told(tmp_path):
    scene = context(tmp_path, pictures())
    after = Quantize(keep=("fir*",)).apply(graph(convnet()), scene)
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


def test_without_calibration_a_convolutional_network_stays_float(tmp_path):
    before = graph(convnet())
    scene = context(tmp_path)
    assert Quantize().apply(before, scene) is before
    reasons = {c["scheme"]: c["reason"] for c in scene.events.decided["candidates"]}
    assert reasons["w8a8-static"] == "there is no calibration data"


def test_dynamic_on_convolutions_is_done_when_asked_for_and_told(tmp_path):
    scene = context(tmp_path)
    after = Quantize(scheme="w8-dynamic").apply(graph(convnet()), scene)
    assert kinds(after.proto()).count("MatMulInteger") == 1
    assert kinds(after.proto()).count("Conv") == 2
    assert "2 convolutions stay float" in scene.events.notes[0]


def test_what_is_quantised_already_passes_through(tmp_path):
    once = Quantize().apply(graph(encoder()), context(tmp_path))
    unlabelled = Graph.from_proto(once.proto())
    scene = context(tmp_path)
    assert Quantize().apply(unlabelled, scene) is unlabelled
    assert scene.events.notes == ["the model is quantised already and stays as it is"]
    with pytest.raises(ModelError) as refused:
        Quantize(saturates=True).apply(once, context(tmp_path))
    assert refused.value.code == "E453"


def test_a_worker_that_fails_is_an_error_of_the_model(tmp_path, monkeypatch):
    import edgepack.quantize.quantize as module
    from edgepack.child import ChildError

    def fail(*_: object) -> None:
        raise ChildError("raised", "ValueError: no")

    monkeypatch.setattr(module, "call", fail)
    with pytest.raises(ModelError) as refused:
        Quantize().apply(graph(convnet()), context(tmp_path))
    assert (refused.value.code, refused.value.why) == ("E454", "ValueError: no")


def test_dynamic_axes_and_batches_still_work(tmp_path):
    after = Quantize().apply(graph(convnet()), context(tmp_path, pictures()))
    with ChildRunner().open(after) as session:
        batch = session.run({"x": np.zeros((3, 3, 8, 8), np.float32)})["y"]
    assert batch.shape == (3, 5)
