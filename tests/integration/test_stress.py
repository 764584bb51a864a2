"""A model made to break under one scale for all: channels a thousand times as wide, one outlier."""

import numpy as np
import pytest
from onnx import numpy_helper

import edgepack.api as api
from edgepack.api.inputs import open_splits
from edgepack.base import Context, Silent
from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.quantize.equalise import Equalise
from edgepack.quantize.quantize import Quantize
from edgepack.registry import load_pass
from edgepack.types import Sample

WIDER = 1000
OUTLIER = 300


class Kept(list):
    """Samples in memory."""

    generated = False
    digest = "0"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The digits network made hostile, calibration samples with an outlier, and labelled ones."""
    work = api.prepare(api.Request("builtin:digits", targets=("x86-vnni",)))
    context = Context(tmp_path_factory.mktemp("work"), 0, {}, ChildRunner(), Silent())
    graph = work.source.load(context)
    for step in work.plans[0].baseline:
        graph = load_pass(step.name).model_validate(step.options).apply(graph, context)
    data = open_splits(work, lambda: graph.inputs, dict)
    proto = graph.proto()
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for first, second in (convolutions[1:3], convolutions[3:5]):
        for name, axis, factor in (
            (first.input[1], 0, WIDER),
            (first.input[2], 0, WIDER),
            (second.input[1], 1, 1 / WIDER),
        ):
            values = numpy_helper.to_array(tensors[name]).copy()
            np.moveaxis(values, axis, 0)[3] *= factor
            tensors[name].CopyFrom(numpy_helper.from_array(values, name))
    samples = Kept(data["calibration"])
    (name,) = samples[0].inputs[0]
    spoiled = np.array(samples[0].inputs[0][name])
    spoiled[0, 0, 4, 4] = OUTLIER
    samples[0] = Sample(inputs=({name: spoiled},))
    return Graph.from_proto(proto), samples, list(data["evaluation"])


def accuracy(graph, samples):
    with ChildRunner().open(graph) as session:
        right = [
            next(iter(session.run(sample.inputs[0]).values())).argmax() == sample.label
            for sample in samples
        ]
    return 100 * float(np.mean(right))


@pytest.mark.full
@pytest.mark.parametrize("per_channel", [True, False])
def test_equalised_and_calibrated_by_percentiles_it_is_as_good_as_float(
    scene, tmp_path, per_channel
):
    graph, samples, labelled = scene
    context = Context(tmp_path, 0, {"calibration": samples}, ChildRunner(), Silent())
    plain = Quantize(scheme="w8a8-static", calibration="minmax", per_channel=per_channel)
    ours = Quantize(scheme="w8a8-static", percentile=99.9, per_channel=per_channel)
    expected = accuracy(graph, labelled)
    assert accuracy(plain.apply(graph, context), labelled) < expected - 10
    even = Equalise().apply(graph, context)
    assert accuracy(ours.apply(even, context), labelled) >= expected - 1


RECIPE = """
[model]
source = "stress.onnx"
[data]
calibration = "data.py:calibration"
evaluation = "data.py:evaluation"
metric = "accuracy"
[[steps]]
pass = "quantize"
scheme = "w8a8-static"
per_channel = false
calibration = "minmax"
[gates]
max_drop = 1.0
"""
DATA = """
import numpy as np
def calibration():
    return np.load("calibration.npy")
def evaluation():
    return np.load("evaluation.npy"), np.load("labels.npy")
"""


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    """A recipe for the hostile model that names the settings which break it."""
    graph, samples, labelled = scene
    place = tmp_path_factory.mktemp("stress")
    graph.write(place / "stress.onnx")
    (name,) = samples[0].inputs[0]
    for file, split in (("calibration", samples), ("evaluation", labelled)):
        np.save(place / f"{file}.npy", np.concatenate([s.inputs[0][name] for s in split]))
    np.save(place / "labels.npy", np.array([s.label for s in labelled]))
    (place / "edgepack.toml").write_text(RECIPE)
    (place / "data.py").write_text(DATA)
    return place


def test_the_ladder_brings_back_what_the_runtime_s_quantiser_loses(scene, folder, monkeypatch):
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.samples = iter(scene[1])

        def get_next(self):
            sample = next(self.samples, None)
            return None if sample is None else dict(sample.inputs[0])

    monkeypatch.chdir(folder)
    quantize_static("stress.onnx", "plain.onnx", Reader())
    expected = accuracy(scene[0], scene[2])
    assert accuracy(folder / "plain.onnx", scene[2]) < expected - 10
    report = api.build(targets=("x86-vnni",), on=("local",))
    (target,) = report.targets
    assert report.verdict == "pass"
    assert target.metric.after >= expected - 1
    asked, *rungs, plain = target.candidates
    assert asked.metric < expected - 10
    assert "max_drop" in asked.reason
    assert [rung.chosen for rung in rungs] == [False] * (len(rungs) - 1) + [True]
    assert rungs[-1].scheme.startswith("w8a8-static + ")
    assert "equalise" in rungs[-1].scheme
    assert all(rung.bytes and rung.cosine is not None for rung in rungs)
    assert (plain.scheme, target.scheme) == ("float", "w8a8-static")


def test_by_hand_layers_stay_float_and_the_gate_gives_way(folder, monkeypatch):
    monkeypatch.chdir(folder)
    request = api.Request(targets=("x86-vnni",), keep_float=("*",), max_drop=0.0)
    work = api.prepare(request)
    (plan,) = work.plans
    assert plan.choice.ways[0].options["keep"] == ["*"]
    assert work.recipe.gates.max_drop == 0.0
