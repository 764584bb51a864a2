from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import Rows
from torch import nn

from edgepack.compress.finetune import Finetune
from edgepack.compress.prune import Prune
from edgepack.compress.sparsify import Sparsify
from edgepack.errors import ModelError
from edgepack.model import Model
from edgepack.types import Sample, TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
SGD = {"epochs": 8, "optimizer": "sgd", "learning_rate": 0.1}


def two_layers(spread=1.0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        net[0].weight[8:] *= spread
        net[0].bias[8:] *= spread
        net[2].weight[:, 8:] *= spread
    return Model.of(net, (X,), {"x": np.zeros((1, 4), np.float32)})


@pytest.fixture
def rows(context):
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((64, 1, 4)).astype(np.float32)
    return replace(
        context, data={"train": Rows(Sample(({"x": x},), int(x.sum() > 0)) for x in drawn)}
    )


@pytest.fixture
def heard(monkeypatch, events):
    notes = []
    monkeypatch.setattr(events, "note", notes.append, raising=False)
    return notes


def test_channels_pulled_to_zero_are_cut_at_no_loss(digits, context, accuracy, events, heard):
    cut = Prune(ratio=0.5, criterion="l2")
    tuned = Finetune(**SGD).apply(digits, context)
    pulled = Sparsify(**SGD).apply(digits, context)
    told = events.decisions[-1]
    assert told["near_zero_before"] == 0
    assert told["near_zero_after"] > 0.5
    assert heard == []
    assert accuracy(pulled) > 0.97
    assert accuracy(cut.apply(pulled, context)) > 0.95
    assert accuracy(cut.apply(tuned, context)) < 0.6


def lengths(model):
    first, last = model.module[0], model.module[2]
    return torch.cat([first.weight, first.bias[:, None], last.weight.T], 1).norm(dim=1)


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.03), ("sgd", 0.3)])
def test_whole_channels_go_and_both_layers_lose_them(optimizer, rate, rows, events):
    pull = Sparsify(epochs=80, learning_rate=rate, strength=0.01, optimizer=optimizer)
    model = two_layers()
    made = pull.apply(model, rows)
    gone = lengths(made) < 0.1 * lengths(made).max()
    assert 4 <= gone.sum() < 16
    assert events.decisions[-1]["near_zero_after"] > 0.2
    labels = np.array([sample.label for sample in rows.data["train"]])
    inputs = np.concatenate([sample.inputs[0]["x"] for sample in rows.data["train"]])
    assert (made.run({"x": inputs})["output"].argmax(1) == labels).mean() > 0.95
    assert lengths(model).min() > 0.1 * lengths(model).max()


def test_single_weights_go(rows, events):
    Sparsify(penalty="l1", epochs=60, learning_rate=0.03, strength=0.01).apply(two_layers(), rows)
    told = events.decisions[-1]
    assert told["near_zero_after"] > told["near_zero_before"] + 0.3


def test_scales_of_batch_norms_go(context, events, rows):
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    model = Model.of(net, (X,), {"x": np.zeros((1, 4), np.float32)})
    pull = Sparsify(penalty="batch-norm", epochs=60, learning_rate=0.05, strength=0.05)
    made = pull.apply(model, rows)
    assert (made.module[1].weight.abs() < 0.1).sum() > 4
    assert events.decisions[-1]["near_zero_after"] > 0.2


def test_what_is_sparse_already_is_noted(rows, heard):
    Sparsify(epochs=1).apply(two_layers(spread=1e-3), rows)
    assert len(heard) == 1
    assert "sparse already" in heard[0]


def test_what_does_not_help_is_noted(rows, heard):
    Sparsify(epochs=1, strength=1e-9).apply(two_layers(), rows)
    assert heard == [
        "hardly more is near zero than before; raise `strength` or `epochs`, or leave it out"
    ]


def test_where_batch_norms_hide_the_pull_sgd_is_named(rows, heard):
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    model = Model.of(net, (X,), {"x": np.zeros((1, 4), np.float32)})
    Sparsify(epochs=1).apply(model, rows)
    assert 'optimizer = "sgd"' in heard[0]


def test_too_strong_a_pull_is_noted(rows, heard):
    Sparsify(epochs=100, learning_rate=0.01, strength=10).apply(two_layers(), rows)
    assert "lower `strength`" in heard[0]


@pytest.mark.parametrize("penalty", ["group", "batch-norm"])
def test_nothing_to_pull_at_is_refused(penalty, rows):
    model = Model.of(nn.Linear(4, 2), (X,), {"x": np.zeros((1, 4), np.float32)})
    with pytest.raises(ModelError) as caught:
        Sparsify(penalty=penalty).apply(model, rows)
    assert caught.value.code == "E459"


def test_it_is_repeatable_and_saved(rows, tmp_path):
    model = two_layers()
    one, other = (Sparsify(epochs=2).apply(model, rows) for _ in range(2))
    assert one.digest == other.digest != model.digest
    one.save(tmp_path)
    assert Model.load(tmp_path, lambda _: two_layers()).digest == one.digest
