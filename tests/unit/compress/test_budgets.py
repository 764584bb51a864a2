import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from edgepack.compress.prune import Prune
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.model.edits import replay
from edgepack.types import TensorSpec


def chain(*widths):
    torch.manual_seed(0)
    layers = [
        layer
        for before, after in zip((4, *widths), widths, strict=False)
        for layer in (nn.Linear(before, after), nn.ReLU())
    ]
    module = nn.Sequential(*layers, nn.Linear(widths[-1], 2))
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
    return Model.of(module, (spec,), {"x": np.zeros((1, 4), np.float32)})


def widths(model):
    return [layer.out_features for layer in model.module if isinstance(layer, nn.Linear)][:-1]


@pytest.mark.parametrize(
    "options",
    [{}, {"ratio": 0.5, "macs": 0.5}, {"params": 0.5, "size": 0.5}, {"macs": 1}, {"size": 0}],
)
def test_one_measure_says_how_much_goes(options):
    with pytest.raises(ValidationError):
        Prune(**options)


@pytest.mark.parametrize("share", [-0.1, 1, 2])
def test_a_ratio_of_a_layer_is_a_share(share):
    with pytest.raises(ValidationError):
        Prune(ratio=0.5, per_layer={"0": share})


@pytest.mark.parametrize(("name", "fact"), [("macs", "multiply_adds"), ("params", "parameters")])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("share", [0.7, 0.4])
def test_a_budget_is_met_and_not_by_much(name, fact, scope, share, context):
    model = chain(64, 64)
    pruned = Prune(**{name: share}, scope=scope).apply(model, context)
    left = pruned.facts()[fact] / model.facts()[fact]
    assert left <= share
    # One more step of eight channels in each of both layers would have been too many.
    assert left > share - 0.25
    assert all(width % 8 == 0 for width in widths(pruned))


def test_the_size_is_that_of_the_weights(context):
    model = chain(64, 64)
    pruned = Prune(size=0.5, round_to=1).apply(model, context)
    before, after = (
        sum(t.numel() * t.element_size() for t in m.module.state_dict().values())
        for m in (model, pruned)
    )
    assert 0.46 < after / before <= 0.5


def test_a_budget_that_cannot_be_met_says_what_can(context):
    with pytest.raises(ModelError) as caught:
        Prune(params=0.05).apply(chain(16, 16), context)
    assert caught.value.code == "E460"
    assert "`params` above 0." in caught.value.fix


def unequal():
    model = chain(64, 64)
    with torch.no_grad():
        model.module[0].weight[:48] *= 1e-2
        model.module[0].bias[:48] *= 1e-2
        model.module[2].weight[:, :48] *= 1e-2
    return model


def test_the_whole_model_loses_where_it_has_least_to_lose(context):
    layer = Prune(ratio=0.5).apply(unequal(), context)
    whole = Prune(ratio=0.5, scope="global").apply(unequal(), context)
    assert widths(layer) == [32, 32]
    first, second = widths(whole)
    assert first < 32 < second
    assert first + second == 64
    assert set(whole.edits[0].indices) <= set(range(48))


def test_single_layers_have_ratios_of_their_own(context):
    ratios = {"0": 0.25, "4": 0.0}
    pruned = Prune(ratio=0.5, per_layer=ratios).apply(chain(64, 64, 64), context)
    assert widths(pruned) == [48, 32, 64]


def test_a_budget_leaves_the_ratios_of_single_layers(context):
    pruned = Prune(params=0.6, per_layer={"0": 0.25}).apply(chain(64, 64), context)
    assert widths(pruned)[0] == 48


def test_an_unknown_layer_with_a_ratio_is_refused(context):
    with pytest.raises(UsageError) as caught:
        Prune(ratio=0.5, per_layer={"first": 0.1}).apply(chain(16), context)
    assert (caught.value.code, caught.value.where) == ("E263", "per_layer")


@pytest.mark.parametrize("options", [{"ratio": 0.75}, {"macs": 0.3}])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_rounds_replay_and_end_where_one_round_ends(options, scope, context, events, tmp_path):
    model = chain(64, 64)
    pruned = Prune(**options, scope=scope, steps=3).apply(model, context)
    assert len(pruned.edits) > 2
    assert replay(model, pruned.edits).digest == pruned.digest
    pruned.save(tmp_path)
    assert Model.load(tmp_path, lambda _: chain(64, 64)).digest == pruned.digest
    told = {group.layers[0]: (group.before, group.after) for group in events.decisions[-1].groups}
    assert told == dict(zip(("0", "2"), [(64, width) for width in widths(pruned)], strict=True))
    if options == {"ratio": 0.75} and scope == "layer":
        assert widths(pruned) == [16, 16]


def test_rounds_judge_what_is_left(context):
    """The second layer's weights on channels that went no longer count."""
    torch.manual_seed(1)
    model = chain(32, 32)
    with torch.no_grad():
        model.module[0].weight[:16] *= 1e-3
        model.module[0].bias[:16] *= 1e-3
        model.module[2].weight[:16, :16] *= 100
        model.module[2].weight[16:, 16:] *= 5
    once, thrice = (Prune(ratio=0.5, steps=n).apply(model, context) for n in (1, 4))
    assert widths(once) == widths(thrice) == [16, 16]
    assert once.digest != thrice.digest
