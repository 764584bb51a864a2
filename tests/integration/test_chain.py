"""Seven techniques after each other in one recipe, each with its own effect."""

from itertools import pairwise
from pathlib import Path

import pytest

import edgepack.api as api
from edgepack.api.run import execute

RECIPE = Path(__file__).parents[2] / "examples" / "digits" / "chain.toml"
TECHNIQUES = [
    "sparsify", "prune", "recalibrate", "finetune", "low-rank", "distil", "quantize",
]  # fmt: skip


def built(out):
    work = api.prepare(api.Request(recipe=RECIPE, targets=("arm64",)))
    report = execute(work, out=out)
    assert report.verdict == "pass"
    return report.targets[0]


@pytest.mark.full
@pytest.mark.emulated
def test_a_chain_of_seven_builds_and_tells_what_each_did(tmp_path):
    target = built(tmp_path)
    told = [(step.name, step.effect) for step in target.steps if step.effect]
    assert [name for name, _ in told] == TECHNIQUES
    effects = dict(told)
    assert target.devices[0].exact
    assert target.model_bytes * 15 < target.float_bytes
    cut, thin, integers = (effects[name] for name in ("prune", "low-rank", "quantize"))
    assert cut.after.multiply_adds < 0.3 * cut.before.multiply_adds
    assert cut.after.instructions < 0.5 * cut.before.instructions
    assert thin.after.parameters < 0.7 * thin.before.parameters
    assert integers.after.bytes < 0.4 * integers.before.bytes
    assert integers.after.instructions == target.candidates[0].instructions
    for name in ("sparsify", "recalibrate", "finetune", "distil"):
        assert effects[name].before == effects[name].after
    lost, won, low, high = (
        effects[name].metric.drop for name in ("prune", "recalibrate", "low-rank", "distil")
    )
    assert lost > 10
    assert won < -10
    assert low > 10
    assert high < -10
    for before, after in pairwise(effects.values()):
        assert after.metric.before == before.metric.after
    again = built(tmp_path)
    assert [step.effect for step in again.steps] == [step.effect for step in target.steps]
    assert all(step.cached for step in again.steps)
