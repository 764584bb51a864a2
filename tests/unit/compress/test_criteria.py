from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from edgepack.base import Silent
from edgepack.compress.prune import Prune
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.types import Sample, TensorSpec

WEAK = [1, 2, 3, 5, 8, 11, 13, 15]
STRONG = [c for c in range(16) if c not in WEAK]


@dataclass(frozen=True)
class Points:
    """Points of two classes, and their labels."""

    labelled: bool = True
    generated: bool = False
    digest: str = "points"

    def __len__(self):
        return 64

    def __iter__(self):
        points = np.random.default_rng(0).standard_normal((64, 1, 4), np.float32)
        for point in points:
            label = int(point.sum() > 0) if self.labelled else None
            yield Sample(({"x": point},), label)


class Noted(Silent):
    def __init__(self):
        self.notes = []
        self.decisions = []

    def note(self, text):
        self.notes.append(text)

    def decision(self, value):
        self.decisions.append(value)


@pytest.fixture
def with_points(context):
    data = {"train": Points(), "calibration": Points(labelled=False)}
    return replace(context, data=data, events=Noted())


def wrapped(module):
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
    return Model.of(module, (spec,), {"x": np.zeros((1, 4), np.float32)})


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def small_weights(module):
    module[0].weight[WEAK] *= 0.01
    module[3].weight[:, WEAK] *= 0.01


def unread(module):
    """Large on their way in, and nothing that reads them."""
    module[0].weight[WEAK] *= 100
    module[3].weight[:, WEAK] *= 1e-4


def silent(module):
    """Read by the largest weights, and never more than a trifle."""
    module[1].bias.zero_()
    module[1].weight[WEAK] = 1e-4
    module[3].weight[:, WEAK] *= 10


def unscaled(module):
    module[1].weight[WEAK] = 1e-3


@pytest.mark.parametrize(
    ("criterion", "plant"),
    [
        ("l1", small_weights),
        ("l2", small_weights),
        ("taylor", unread),
        ("taylor", silent),
        ("obd", unread),
        ("obd", silent),
        ("activation", unread),
        ("activation", silent),
        ("batch-norm", unscaled),
    ],
)
def test_a_planted_channel_goes_first(criterion, plant, with_points):
    module = network()
    with torch.no_grad():
        plant(module)
    pruned = Prune(ratio=0.5, criterion=criterion).apply(wrapped(module), with_points)
    assert list(pruned.edits[0].indices) == WEAK


def test_the_sum_of_magnitudes_is_not_the_length(with_points):
    """Four weights of a half are as long as one of one, and twice as large."""
    module = nn.Sequential(nn.Linear(4, 16, bias=False), nn.ReLU(), nn.Linear(16, 2, bias=False))
    with torch.no_grad():
        module[0].weight.fill_(0.5)
        module[0].weight[WEAK] = torch.tensor([1.1, 0, 0, 0])
        module[2].weight.fill_(1)
    gone = {
        name: list(
            Prune(ratio=0.5, criterion=name).apply(wrapped(module), with_points).edits[0].indices
        )
        for name in ("l1", "l2")
    }
    assert gone == {"l1": WEAK, "l2": STRONG}


def test_lots_are_drawn_from_the_seed(with_points):
    def gone(seed):
        one = Prune(ratio=0.5, criterion="random")
        return one.apply(wrapped(network()), replace(with_points, seed=seed)).edits

    assert gone(0) == gone(0)
    assert gone(0) != gone(1)


@pytest.mark.parametrize(
    ("criterion", "missing"), [("taylor", "train"), ("obd", "train"), ("activation", "calibration")]
)
def test_a_criterion_without_its_data_is_refused(criterion, missing, context):
    with pytest.raises(UsageError, match=missing) as caught:
        Prune(ratio=0.5, criterion=criterion).apply(wrapped(network()), replace(context, data={}))
    assert caught.value.code == "E227"
    assert missing in caught.value.fix


def test_gradients_need_labels(with_points):
    unlabelled = replace(with_points, data={"train": Points(labelled=False)})
    with pytest.raises(UsageError) as caught:
        Prune(ratio=0.5, criterion="taylor").apply(wrapped(network()), unlabelled)
    assert caught.value.code == "E264"


def test_groups_without_batch_norm_are_spared_by_its_criterion(with_points):
    module = nn.Sequential(*network()[:3], nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    pruned = Prune(ratio=0.5, criterion="batch-norm").apply(wrapped(module), with_points)
    assert [edit.module for edit in pruned.edits] == ["0"]
    assert "nothing to go by" in with_points.events.decisions[0].spared["3"]


def test_scores_that_are_no_numbers_are_refused(with_points):
    module = network()
    with torch.no_grad():
        module[0].weight[0, 0] = torch.nan
    with pytest.raises(ModelError) as caught:
        Prune(ratio=0.5).apply(wrapped(module), with_points)
    assert caught.value.code == "E461"
    assert "`0`" in caught.value.what


def test_data_leaves_no_trace_in_the_model(with_points):
    model = wrapped(network())
    before = model.digest
    for criterion in ("taylor", "obd", "activation"):
        pruned = Prune(ratio=0.5, criterion=criterion).apply(model, with_points)
        again = Prune(ratio=0.5, criterion=criterion).apply(model, with_points)
        assert pruned.digest == again.digest
    assert model.digest == before
    assert all(p.grad is None for p in model.module.parameters())


def test_sparse_models_and_odd_widths_are_told(with_points):
    module = nn.Sequential(nn.Linear(4, 15), nn.ReLU(), nn.Linear(15, 2))
    with torch.no_grad():
        module[2].weight[:, :12] = 0
        module[0].weight[:6] = 0
    Prune(ratio=0.2, round_to=1).apply(wrapped(module), with_points)
    notes = " ".join(with_points.events.notes)
    assert "zero already" in notes
    assert "no multiple of 8" in notes
