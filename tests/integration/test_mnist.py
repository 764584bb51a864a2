"""The example with a pruned MobileNetV2: half the work with few samples always, whole if asked."""

from pathlib import Path

import pytest

import edgepack.api as api
from edgepack.api.run import execute
from edgepack.artifact import Artifact

RECIPE = Path(__file__).parents[2] / "examples/mnist/edgepack.toml"


def built(out, target, **rest):
    work = api.prepare(api.Request(recipe=RECIPE, targets=(target,), **rest))
    return execute(work, out=out, on=("local",) if target == "x86" else (), force=True).targets[0]


def facts(target):
    steps = {step.name: step for step in target.steps}
    return steps["prune"].before, steps["prune"].after


@pytest.mark.full
def test_half_of_the_work_goes_with_few_samples(tmp_path):
    steps = (
        'steps=[{pass="prune", macs=0.5, criterion="taylor"}, {pass="finetune", epochs=1}, '
        '{pass="quantize", scheme="w8a8-static"}]'
    )
    few = ("data.most=48", "gates.max_drop=100.0", "gates.cosine=0.0", steps)
    target = built(tmp_path, "x86", overrides=few)
    before, after = facts(target)
    # The steps of eight channels are coarse in so small a network, but not that coarse.
    assert 0.4 * before["multiply_adds"] < after["multiply_adds"] <= 0.5 * before["multiply_adds"]
    assert target.metric.samples == 48
    decided = next(step.decision for step in target.steps if step.name == "prune")
    assert {"groups", "spared"} <= decided.keys()
    assert all(group["after"] % 8 == 0 for group in decided["groups"])
    assert Artifact.open(Path(target.artifact)).manifest.file("model.onnx").size < 130_000


@pytest.mark.full
@pytest.mark.emulated
def test_it_is_right_with_half_of_the_work(tmp_path):
    target = built(tmp_path, "arm64")
    before, after = facts(target)
    assert after["multiply_adds"] <= 0.5 * before["multiply_adds"]
    assert target.metric.samples == 1000
    assert target.metric.before >= 98
    assert target.metric.before - target.metric.after <= 1.0
    assert target.devices[0].exact
