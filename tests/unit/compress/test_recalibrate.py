from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import Rows
from torch import nn

from edgepack.compress.prune import Prune
from edgepack.compress.recalibrate import Recalibrate
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.types import Sample, TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 3))
DRAWN = np.random.default_rng(0).normal(5, 2, (96, 1, 3)).astype(np.float32)


class MadeUp(Rows):
    generated = True


def normed(momentum=0.1):
    net = nn.Sequential(nn.BatchNorm1d(3, momentum=momentum), nn.Dropout(0.5))
    return Model.of(net, (X,), {"x": np.zeros((1, 3), np.float32)})


def shown(context, split="train", kind=Rows, count=96):
    return replace(context, data={split: kind(Sample(({"x": x},)) for x in DRAWN[:count])})


@pytest.fixture
def heard(monkeypatch, events):
    notes = []
    monkeypatch.setattr(events, "note", notes.append, raising=False)
    return notes


@pytest.mark.parametrize("split", ["train", "calibration"])
def test_means_and_variances_become_those_of_the_data(split, context, events, heard):
    model = normed()
    made = Recalibrate(batch_size=32, data=split).apply(model, shown(context, split))
    norm = made.module[0]
    rows = DRAWN[:, 0]
    np.testing.assert_allclose(norm.running_mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, rows.var(0, ddof=1), rtol=0.05)
    assert norm.num_batches_tracked == 3
    assert events.decisions == [
        {"batch_norms": 1, "samples": 96, "means_moved_by_deviations": pytest.approx(2.5, rel=0.2)}
    ]
    assert heard == []
    assert norm.momentum == 0.1
    assert not made.module.training
    assert model.module[0].running_mean.abs().max() == 0


def test_no_weight_changes_and_it_is_repeatable(context):
    model = normed()
    one, other = (Recalibrate(batch_size=8).apply(model, shown(context)) for _ in range(2))
    assert one.digest == other.digest != model.digest
    assert torch.equal(one.module[0].weight, model.module[0].weight)


def test_only_as_many_samples_as_asked_for_are_seen(context, events):
    made = Recalibrate(batch_size=8, samples=16).apply(normed(), shown(context))
    np.testing.assert_allclose(made.module[0].running_mean, DRAWN[:16, 0].mean(0), rtol=1e-5)
    assert events.decisions[0]["samples"] == 16


def test_a_batch_that_is_not_full_is_left_out(context, events):
    Recalibrate(batch_size=40).apply(normed(), shown(context))
    assert events.decisions[0]["samples"] == 80


def test_what_is_right_already_is_noted(context, heard):
    once = Recalibrate(batch_size=96).apply(normed(), shown(context))
    Recalibrate(batch_size=96).apply(once, shown(context))
    assert heard == ["the batch norms were right as they were: nothing was gained"]


def test_a_model_without_batch_norm_is_refused(context):
    net = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    model = Model.of(net, (X,), {"x": np.zeros((1, 3), np.float32)})
    with pytest.raises(ModelError) as caught:
        Recalibrate().apply(model, shown(context))
    assert caught.value.code == "E458"


@pytest.mark.parametrize(
    ("split", "kind"), [("calibration", Rows), ("train", MadeUp)], ids=["missing", "made-up"]
)
def test_data_that_is_missing_or_made_up_is_refused(split, kind, context):
    with pytest.raises(UsageError) as caught:
        Recalibrate().apply(normed(), shown(context, split, kind))
    assert caught.value.code == "E224"


def test_it_wins_back_most_of_what_a_cut_cost_and_is_saved(digits, context, accuracy, tmp_path):
    cut = Prune(ratio=0.5, criterion="l2").apply(digits, context)
    mended = Recalibrate().apply(cut, context)
    assert accuracy(mended) > accuracy(cut) + 0.2
    mended.save(tmp_path)
    assert Model.load(tmp_path, lambda _: digits.copy()).digest == mended.digest
