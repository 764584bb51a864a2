import pytest
import torch
from nets import wrapped
from pydantic import ValidationError
from torch import nn

from edgepack.compress.criteria import l2
from edgepack.compress.criteria.subject import Subject
from edgepack.compress.prune import Prune
from edgepack.compress.widths import channels_left
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.model.edits import replay
from edgepack.model.groups import Groups


@pytest.mark.parametrize(
    ("channels", "ratio", "left"),
    [(32, 0.5, 16), (96, 0.5, 48), (24, 0.5, 16), (224, 0.9, 24), (16, 0.9, 8), (8, 0.99, 8)],
)
def test_what_is_left_is_a_multiple_of_eight(channels, ratio, left):
    assert channels_left(channels, ratio, 8) == left


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5])
def test_a_ratio_is_a_share(ratio):
    with pytest.raises(ValidationError):
        Prune(ratio=ratio)


def test_the_decision_halves_each_group(digits, context, events):
    Prune(ratio=0.5).apply(digits, context)
    (decision,) = events.decisions
    assert {g.layers[0]: (g.before, g.after) for g in decision.groups} == {
        "down2.0": (224, 112),
        "down1.0": (96, 48),
        "block.second.0": (32, 16),
        "block.first.0": (32, 16),
    }
    assert decision.spared == {"head": "its channels are an output of the model"}
    assert "cuts" not in decision.model_dump()


def test_the_model_given_stays_and_the_same_options_give_the_same(digits, context):
    before = digits.digest
    one, other = (Prune(ratio=0.3).apply(digits, context) for _ in range(2))
    assert digits.digest == before
    assert one.digest == other.digest
    assert one.facts()["parameters"] == 118_770


def test_replay_equals_the_pruned_model_to_the_bit(digits, context):
    pruned = Prune(ratio=0.5).apply(Prune(ratio=0.25).apply(digits, context), context)
    again = replay(digits, pruned.edits)
    assert len(pruned.edits) == 8
    assert again.digest == pruned.digest


def test_a_pruned_model_is_saved_and_loaded(digits, context, source, tmp_path):
    pruned = Prune(ratio=0.5).apply(digits, context)
    pruned.save(tmp_path)
    assert Model.load(tmp_path, lambda _: source.fresh(context)).digest == pruned.digest


def test_layers_named_under_keep_are_spared(digits, context, events):
    pruned = Prune(ratio=0.5, keep=("block.*", "down1.0")).apply(digits, context)
    assert [edit.module for edit in pruned.edits] == ["down2.0"]
    assert events.decisions[0].spared["down1.0"] == "named under `keep`"


def test_an_unknown_name_under_keep_is_refused(digits, context):
    with pytest.raises(UsageError, match="down9") as caught:
        Prune(ratio=0.5, keep=("down9",)).apply(digits, context)
    assert "down1" in caught.value.fix or "down2" in caught.value.fix


def test_nothing_to_prune_is_an_error(context):
    with pytest.raises(ModelError) as caught:
        Prune(ratio=0.5).apply(wrapped(nn.Sequential(nn.Linear(8, 4), nn.Tanh()), 8), context)
    assert caught.value.code == "E435"
    assert "output of the model" in caught.value.why


def test_the_least_channels_go(context):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    weak = [1, 2, 3, 5, 8, 11, 13, 15]
    with torch.no_grad():
        module[0].weight[weak] *= 1e-3
        module[2].weight[:, weak] *= 1e-3
    pruned = Prune(ratio=0.5).apply(wrapped(module, 4), context)
    assert list(pruned.edits[0].indices) == weak


def test_scores_hear_each_layer_alike():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    (group,) = (g for g in Groups(wrapped(module, 4)) if not g.obstacle)
    (first,) = l2.scores(Subject(module, [group]))
    with torch.no_grad():
        module[0].weight *= 1000
    (again,) = l2.scores(Subject(module, [group]))
    torch.testing.assert_close(first, again)


def test_flattened_channels_are_cut_whole(context):
    module = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 4, 3))
    pruned = Prune(ratio=0.5).apply(wrapped(module, 1, 4, 4), context)
    assert pruned.module[3].in_features == 32


def test_depthwise_convolutions_follow_their_channels(context):
    torch.manual_seed(0)
    depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
    ends = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)]
    module = nn.Sequential(nn.Conv2d(1, 16, 1), depthwise, nn.ReLU6(), nn.Conv2d(16, 32, 1), *ends)
    pruned = Prune(ratio=0.5).apply(wrapped(module, 1, 4, 4), context)
    assert [edit.module for edit in pruned.edits] == ["1", "3"]
    assert list(pruned.module[1].weight.shape) == [8, 1, 3, 3]
    assert pruned.module[1].groups == 8


class Gated(nn.Module):
    """Squeeze and excitation: channels are scaled by what their averages say."""

    def __init__(self):
        super().__init__()
        self.body, self.end = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 2, 1)
        self.squeeze, self.excite = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 32, 1)

    def forward(self, x):
        x = self.body(x)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.end(x * gate)


def test_gates_follow_their_channels(context):
    torch.manual_seed(0)
    pruned = Prune(ratio=0.5).apply(wrapped(Gated(), 1, 4, 4), context)
    shapes = {n: list(t.shape[:2]) for n, t in pruned.module.named_parameters() if t.dim() > 1}
    assert shapes == {
        "body.weight": [16, 1],
        "squeeze.weight": [8, 16],
        "excite.weight": [16, 8],
        "end.weight": [2, 16],
    }


def test_grouped_convolutions_are_spared(context, events):
    torch.manual_seed(0)
    grouped = nn.Conv2d(32, 32, 1, groups=4)
    module = nn.Sequential(nn.Conv2d(1, 32, 1), grouped, nn.Conv2d(32, 16, 1), nn.Conv2d(16, 2, 1))
    pruned = Prune(ratio=0.5).apply(wrapped(module, 1, 2, 2), context)
    assert [edit.module for edit in pruned.edits] == ["2"]
    assert "grouped" in events.decisions[0].spared["0"]


class Mixing(nn.Module):
    """A softmax over channels: removing one changes the others."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 2)
        self.free, self.end = nn.Linear(2, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.end(torch.relu(self.free(self.last(torch.softmax(self.first(x), -1)))))


def test_channels_whose_removal_is_no_zeroing_are_spared(context, events):
    torch.manual_seed(0)
    pruned = Prune(ratio=0.5).apply(wrapped(Mixing(), 4), context)
    assert [edit.module for edit in pruned.edits] == ["free"]
    assert "not the same as zeroing" in events.decisions[0].spared["first"]


class Layered(nn.Module):
    """Features that are both read on and given away."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 16), nn.Linear(16, 2)

    def forward(self, x):
        features = self.body(x)
        return self.head(features), features


def test_an_output_that_is_read_on_is_spared(context):
    with pytest.raises(ModelError, match="nothing to prune"):
        Prune(ratio=0.5).apply(wrapped(Layered(), 4), context)
