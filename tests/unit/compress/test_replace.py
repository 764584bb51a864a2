from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from nets import Noted, Rows
from torch import nn
from torch.nn import functional

from edgepack.compress.replace import ReplaceBlocks
from edgepack.errors import ModelError
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.blocks import block
from edgepack.types import Replace, Sample, TensorSpec


@pytest.fixture
def noted(context):
    rng = np.random.default_rng(0)
    rows = Rows(
        Sample(({"x": rng.standard_normal((1, 8, 6, 6)).astype(np.float32)},)) for _ in range(64)
    )
    return replace(context, events=Noted(), data={"calibration": rows})


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(8, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False)
        self.point = nn.Conv2d(16, 8, 1)

    def forward(self, x):
        return self.point(functional.gelu(self.second(functional.relu(self.first(x)))))


def wrapped(module):
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 8, 6, 6))
    example = np.random.default_rng(1).standard_normal((1, 8, 6, 6)).astype(np.float32)
    return Model.of(module, (spec,), {"x": example})


SEPARABLE = ReplaceBlocks(convolutions="depthwise-separable")


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d])
def test_a_convolution_that_is_separable_is_found_exactly(kind):
    torch.manual_seed(0)
    places = (3,) if kind is nn.Conv1d else (3, 3)
    old = kind(8, 12, 3, stride=2, padding=1)
    kernels, mix = torch.randn(1, 8, *places), torch.randn(12, 8, *[1] * len(places))
    with torch.no_grad():
        old.weight.copy_(kernels * mix)
    made = block(old, Replace(module="c", by="depthwise-separable"))
    x = torch.randn(2, 8, *[7] * len(places))
    assert torch.allclose(made(x), old(x), atol=1e-4)


def test_convolutions_become_separable_and_are_fitted(noted):
    model = wrapped(Net())
    made = SEPARABLE.apply(model, noted)
    raw = ReplaceBlocks(convolutions="depthwise-separable", samples=0).apply(model, noted)
    told = noted.events.decisions[0]
    assert set(told.convolutions) == {"first", "second"}
    assert told.spared == {"point": "its kernel has a single place"}
    assert told.convolutions["second"].before == 16 * 16 * 9
    assert told.convolutions["second"].after == 16 * 9 + 16 * 16
    assert made.facts()["multiply_adds"] < 0.35 * model.facts()["multiply_adds"]

    def lost(one):
        feed = {"x": np.random.default_rng(5).standard_normal((32, 8, 6, 6)).astype(np.float32)}
        wanted = model.run(feed)["output"]
        return float(np.square(one.run(feed)["output"] - wanted).mean())

    assert lost(made) < lost(raw)


def test_the_error_told_is_that_of_the_outputs(noted):
    model = wrapped(Net())
    one = ReplaceBlocks(convolutions="depthwise-separable", only=("first",))
    made = one.apply(model, noted)
    told = noted.events.decisions[0].convolutions["first"]
    x = torch.from_numpy(np.concatenate([s.inputs[0]["x"] for s in noted.data["calibration"]]))
    with torch.no_grad():
        old, new = model.module.first(x), made.module.first(x)
    assert told.error == pytest.approx(float((old - new).norm() / old.norm()), rel=1e-3)


def test_a_replaced_model_is_loaded_as_it_was_and_exports(noted, tmp_path: Path):
    made = SEPARABLE.apply(wrapped(Net()), noted)
    made.save(tmp_path)
    assert Model.load(tmp_path, lambda _: wrapped(Net())).digest == made.digest
    operators = to_graph(made, 20).graph.facts()["operators"]
    assert operators["Conv"] == 5


def test_without_data_the_weights_alone_decide(noted):
    SEPARABLE.apply(wrapped(Net()), replace(noted, data={}))
    assert any("no data" in note for note in noted.events.notes)
    assert noted.events.decisions[0].convolutions["first"].error is None


def test_activations_of_transformers_are_swapped(noted):
    torch.manual_seed(0)
    bert = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            attn_implementation="eager",
        )
    )

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = bert

        def forward(self, ids):
            return self.bert(ids).last_hidden_state

    spec = TensorSpec(name="ids", dtype="int64", shape=("batch", "length"))
    model = Model.of(Pooled(), (spec,), {"ids": np.arange(5)[None]})
    made = ReplaceBlocks(activations={"gelu": "relu"}).apply(model, noted)
    assert noted.events.decisions[0].activations == {"gelu to relu": 2}
    assert "Erf" not in to_graph(made, 20).graph.facts()["operators"]
    assert any("neither parameters" in note for note in noted.events.notes)


def test_silu_becomes_hard_swish(noted):
    model = wrapped(nn.Sequential(nn.Conv2d(8, 8, 1), nn.SiLU()))
    made = ReplaceBlocks(activations={"silu": "hard-swish"}).apply(model, noted)
    assert isinstance(made.module[1], nn.Hardswish)
    assert isinstance(model.module[1], nn.SiLU)


def test_calls_in_the_code_are_told(noted):
    net = nn.Sequential(Net(), nn.GELU())
    ReplaceBlocks(activations={"gelu": "relu"}).apply(wrapped(net), noted)
    assert noted.events.decisions[0].functional == {"gelu": 1}
    with pytest.raises(ModelError, match="only called as a function"):
        ReplaceBlocks(activations={"gelu": "relu"}).apply(wrapped(Net()), noted)


def test_a_network_that_is_separable_already_is_told_so(noted):
    net = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.Conv2d(8, 16, 1))
    with pytest.raises(ModelError, match="form groups already") as refusal:
        SEPARABLE.apply(wrapped(net), noted)
    assert refusal.value.code == "E486"


def test_values_that_are_not_finite_are_refused(noted):
    net = Net()
    with torch.no_grad():
        net.first.weight[0, 0, 0, 0] = torch.nan
    model = wrapped(Net())
    broken = replace(model, module=net.eval())
    with pytest.raises(ModelError, match="E487"):
        ReplaceBlocks(convolutions="depthwise-separable", only=("second",)).apply(broken, noted)
