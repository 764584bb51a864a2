import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgepack.errors import ModelError
from edgepack.model import Model
from edgepack.model.edits import replay
from edgepack.model.groups import Groups
from edgepack.types import Cut, TensorSpec

PICTURE = TensorSpec(name="image", dtype="float32", shape=("batch", 3, 8, 8))
CUT = Cut(module="1", side="out", indices=(0, 3, 5))


def convnet(seed: int = 0, width: int = 16) -> Model:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5))
    return Model.of(module, (PICTURE,), {"image": np.zeros((1, 3, 8, 8), np.float32)}, ("logits",))


class Tied(nn.Module):
    """An embedding and the layer that reads it back share their weight."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        hidden = self.embed(tokens)
        return self.head(hidden), hidden.mean(1)


def tied() -> Model:
    spec = TensorSpec(name="tokens", dtype="int64", shape=("batch", "sequence"))
    return Model.of(Tied(), (spec,), {"tokens": np.arange(4)[None]}, ("logits", "mean"))


def test_outputs_follow_dynamic_axes():
    assert [str(s) for s in convnet().outputs] == ["logits: float32[batch, 5]"]
    assert [s.shape for s in tied().outputs] == [("batch", "sequence", 11), ("batch", 8)]


def test_it_runs_at_other_sizes():
    model = tied()
    feed = model.sized({"batch": 3, "sequence": 6})
    assert feed["tokens"].tolist() == [[0, 1, 2, 3, 0, 1]] * 3
    assert model.run(feed)["logits"].shape == (3, 6, 11)


def test_floats_are_made_up_repeatably():
    model = convnet()
    one, same, other = (model.sized({"batch": 2}, seed)["image"] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("module", "word"),
    [(nn.Linear(3, 4), "RuntimeError"), (nn.LSTM(8, 4), "tuple"), (nn.Identity, "")],
)
def test_a_module_that_does_not_run_is_refused(module, word):
    with pytest.raises(ModelError, match="does not run") as caught:
        Model.of(
            module if isinstance(module, nn.Module) else _Text(),
            (TensorSpec(name="x", dtype="float32", shape=("batch", 2, 8)),),
            {"x": np.zeros((1, 2, 8), np.float32)},
        )
    assert word in caught.value.why


class _Text(nn.Module):
    def forward(self, x):
        return "text"


def test_a_cut_takes_all_that_depends_on_it():
    model = convnet()
    cut = replay(model, (CUT,))
    shapes = {name: list(t.shape) for name, t in cut.module.state_dict().items()}
    assert shapes["1.weight"] == [13, 8, 3, 3]
    assert shapes["2.running_mean"] == [13]
    assert shapes["6.weight"] == [5, 13]
    assert cut.edits == (CUT,)
    assert model.module[1].weight.shape[0] == 16  # what was given stays


def test_a_cut_equals_zeroing():
    model = convnet()
    zeroed = model.copy()
    with torch.no_grad():
        zeroed.module[6].weight[:, list(CUT.indices)] = 0
    feed = model.sized({"batch": 4})
    expected = zeroed.run(feed)["logits"]
    np.testing.assert_allclose(replay(model, (CUT,)).run(feed)["logits"], expected, atol=1e-6)


@pytest.mark.parametrize(
    "cut",
    [
        Cut(module="9", side="out", indices=(0,)),
        Cut(module="1", side="out", indices=(16,)),
        Cut(module="1", side="out", indices=tuple(range(16))),
        Cut(module="3", side="out", indices=(0,)),
    ],
)
def test_a_cut_that_does_not_fit_is_refused(cut):
    with pytest.raises(ModelError) as caught:
        replay(convnet(), (cut,))
    assert caught.value.code == "E432"


def test_groups_know_what_may_not_be_cut():
    obstacles = {group.name: group.obstacle for group in Groups(convnet().copy())}
    assert obstacles == {"0": "", "1": "", "6": "its channels are an output of the model"}


def test_facts_count_multiply_adds():
    facts = convnet().facts()
    assert facts["parameters"] == sum(p.numel() for p in convnet().module.parameters())
    assert facts["bytes"] == 4 * facts["parameters"]
    assert facts["multiply_adds"] == 6 * 6 * 8 * 27 + 4 * 4 * 16 * 72 + 16 * 5


def test_a_saved_model_comes_back_to_the_bit(tmp_path):
    model = replay(convnet(), (CUT, Cut(module="0", side="out", indices=(1,))))
    model.save(tmp_path)
    back = Model.load(tmp_path, lambda _: convnet(seed=1))
    feed = model.sized({"batch": 3})
    assert back.digest == model.digest
    assert back.edits == model.edits
    assert np.array_equal(back.run(feed)["logits"], model.run(feed)["logits"])


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path):
    model = tied()
    model.save(tmp_path)
    assert (tmp_path / "weights.safetensors").stat().st_size < 2 * 4 * 11 * 8
    back = Model.load(tmp_path, lambda _: tied())
    assert back.digest == model.digest
    assert back.module.head.weight is back.module.embed.weight
    assert back.facts()["parameters"] == 88


def test_nothing_saved_is_code(tmp_path):
    convnet().save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "weights.safetensors"]
    assert json.loads((tmp_path / "model.json").read_text())["edits"] == []


@pytest.mark.parametrize(
    ("fresh", "why"),
    [
        (lambda: convnet(width=24), "`1.bias`"),
        (tied, "tokens"),
        (lambda: replace(convnet(), module=nn.Sequential(*convnet().module, nn.Tanh())), None),
        (lambda: replace(convnet(), module=nn.Sequential(*convnet().module, nn.PReLU())), "new"),
    ],
)
def test_a_source_that_changed_is_refused_by_name(tmp_path, fresh, why):
    convnet().save(tmp_path)
    if why is None:  # nothing without weights can be seen
        Model.load(tmp_path, lambda _: fresh())
        return
    with pytest.raises(ModelError) as caught:
        Model.load(tmp_path, lambda _: fresh())
    assert caught.value.code == "E430"
    assert why in caught.value.why


def test_the_digest_follows_weights():
    assert convnet().digest == convnet().digest
    assert convnet().digest != convnet(seed=1).digest
