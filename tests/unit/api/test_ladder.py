from types import SimpleNamespace

import numpy as np
import pytest
from onnx import helper

from edgepack.api.ladder import Ladder
from edgepack.api.trial import Trial
from edgepack.base import Silent, StepRecord
from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.proof.budget import Measurements
from edgepack.proof.fidelity import Fidelity
from edgepack.quantize.quantize import Quantize
from edgepack.types import Tolerance
from tests.unit.quantize.scene import model, tensor, weight

LAYERS = ("first", "second", "third", "fourth", "fifth", "sixth")
NOISE = {"first": 30.0, "second": 12.0, "third": 45.0, "fourth": 8.0, "fifth": 20.0, "sixth": 50.0}


def record(**options):
    one = Quantize(scheme="w8a8-static", **options)
    return StepRecord(name="quantize", version=one.version, options=one.model_dump(mode="json"))


def chain_of_products():
    names = ["x", *(f"t{n}" for n in range(len(LAYERS)))]
    nodes = [
        helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]], name=layer)
        for n, layer in enumerate(LAYERS)
    ]
    weights = [weight(f"w{n}", 4, 4) for n in range(len(LAYERS))]
    return Graph.from_proto(model(nodes, [tensor("x", 1, 4)], [tensor(names[-1], 1, 4)], weights))


class Scene:
    """A ladder over a world in which `near` says how good a way is; all that is tried is kept."""

    def __init__(self, near, *, data=("calibration",)):
        self.near = near
        self.tried = []
        graph = chain_of_products()
        self.input = SimpleNamespace(load=lambda: graph)
        self.quantised = SimpleNamespace(step=SimpleNamespace(decision={"left": {}}))
        chain = SimpleNamespace(
            data={split: SimpleNamespace(generated=False) for split in data},
            events=Silent(),
            step=lambda node, way, lineage: way,
        )
        scorer = SimpleNamespace(
            fidelity=lambda way: fidelity(0.9, NOISE[self.alone(way)]),
            score=lambda way: SimpleNamespace(after=None),
        )
        self.ladder = Ladder(chain, scorer, self.attempt)

    def alone(self, way):
        (name,) = set(LAYERS) - set(way.options["keep"])
        return name

    def trial(self, way, label, before=()):
        cosine = self.near(way, before)
        found = Measurements(
            bytes=1,
            tolerance=Tolerance(exact=False),
            metric=None,
            fidelity=fidelity(cosine, 10.0),
        )
        nodes = (*(self.input for _ in before), self.input, self.quantised)
        wrong = "" if cosine >= 0.99 else "cosine"
        return Trial(label, way, (*before, way), before, nodes, found=found, wrong=wrong)

    def attempt(self, way, label, before=()):
        self.tried.append(label)
        return self.trial(way, label, before)


def fidelity(cosine, decibel):
    return Fidelity(
        cosine=cosine,
        cosine_worst=cosine,
        flips=None,
        samples=1,
        generated=False,
        decibel=decibel,
    )


def climbed(near, **options):
    scene = Scene(near, **options)
    start = scene.trial(record(), "w8a8-static")
    return scene, *scene.ladder.climb(start)


def test_it_stops_at_the_first_rung_that_is_right():
    def near(way, before):
        return 0.995 if way.options["calibration"] == "mse" else 0.5

    scene, tried, layers = climbed(near)
    assert scene.tried[-1] == "w8a8-static + mse ranges"
    assert tried[-1].stands
    assert layers == ()


def test_what_helps_only_together_is_found():
    def near(way, before):
        even = any(step.name == "equalise" for step in before)
        finer = way.options["rounding"] == "adaround"
        return 0.5 + 0.25 * even + 0.25 * finer

    _, tried, _ = climbed(near)
    assert tried[-1].label == "w8a8-static + equalise + adaround"
    assert [step.name for step in tried[-1].steps] == ["equalise", "quantize"]


def test_a_rung_takes_the_place_of_the_one_that_it_contains():
    def near(way, before):
        found = {"minmax": 0.6, "percentile": 0.7}.get(way.options["calibration"], 0.5)
        return found + 0.3 * (way.options["rounding"] == "adaround")

    _, tried, _ = climbed(near)
    assert tried[-1].label == "w8a8-static + 99.9 % ranges + adaround"


def test_what_needs_data_that_is_not_there_is_not_tried():
    scene, _, _ = climbed(lambda way, before: 0.5, data=())
    assert not any("smooth" in label for label in scene.tried)
    assert any("equalise" in label for label in scene.tried)


@pytest.mark.parametrize("enough", [1, 2, 3, 4, 5])
def test_as_few_layers_as_needed_stay_float_the_most_sensitive_first(enough):
    _, tried, layers = climbed(
        lambda way, before: 0.995 if len(way.options["keep"]) >= enough else 0.5
    )
    worst = sorted(LAYERS, key=NOISE.__getitem__)
    assert [layer.node for layer in layers] == worst
    right = [trial for trial in tried if trial.stands]
    fewest = min(right, key=lambda trial: len(trial.way.options["keep"]))
    assert list(fewest.way.options["keep"]) == worst[:enough]


def test_a_layer_that_cannot_be_quantised_alone_is_left_out():
    scene = Scene(lambda way, before: 0.5)

    def step(node, way, lineage):
        if scene.alone(way) == "third":
            raise ModelError("E455", "nothing", fix="none")
        return way

    scene.ladder.chain.step = step
    start = scene.trial(record(), "w8a8-static")
    found = scene.ladder.sensitivity(start)
    assert "third" not in {layer.node for layer in found}
    assert np.all(np.diff([layer.decibel for layer in found]) >= 0)
