from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from nets import Noted, Rows, wrapped
from pydantic import ValidationError
from torch import nn
from transformers.pytorch_utils import Conv1D

from edgepack.compress.allot import by_budget, by_energy
from edgepack.compress.low_rank import LowRank
from edgepack.errors import ModelError, UsageError
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.blocks import block
from edgepack.model.factors import factors, spectrum
from edgepack.types import Replace, Sample, TensorSpec


@pytest.fixture
def noted(context):
    return replace(context, events=Noted(), data={})


def seen(*shape, count=64, scale=1.0):
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((1, *shape)) * scale for _ in range(count))
    return Rows(Sample(({"x": row.astype(np.float32)},)) for row in rows)


def poor(layer, rank):
    """Give a layer weights of a low rank."""
    with torch.no_grad():
        weights = layer.weight.flatten(1)
        outer, inner = torch.randn(len(weights), rank), torch.randn(rank, weights.shape[1])
        layer.weight.copy_((outer @ inner).reshape(layer.weight.shape))
    return layer


@pytest.mark.parametrize("method", ["svd", "whitened", "drone"])
@pytest.mark.parametrize(
    ("layer", "shape", "sizes"),
    [
        pytest.param(lambda: nn.Linear(40, 30), (5, 40), (40, 30), id="wide"),
        pytest.param(lambda: nn.Linear(20, 50, bias=False), (20,), (20, 50), id="tall"),
        pytest.param(lambda: Conv1D(24, 30), (30,), (24, 30), id="gpt2"),
        pytest.param(
            lambda: nn.Conv2d(4, 16, 3, stride=2, padding=1, padding_mode="reflect"),
            (4, 8, 8),
            (36, 16),
            id="kernel",
        ),
        pytest.param(lambda: nn.Conv2d(16, 24, 1, bias=False), (16, 3, 3), (16, 24), id="point"),
        pytest.param(lambda: nn.Conv1d(8, 16, 3, dilation=2), (8, 9), (24, 16), id="1d"),
    ],
)
def test_a_layer_of_low_rank_stays_the_same(method, layer, shape, sizes, noted, tmp_path):
    torch.manual_seed(0)
    model = wrapped(nn.Sequential(poor(layer(), 3)), *shape)
    context = replace(noted, data={"calibration": seen(*shape)})
    thin = LowRank(method=method, rank=3).apply(model, context)
    feed = model.sized({"batch": 3})
    np.testing.assert_allclose(
        thin.run(feed)["output"], model.run(feed)["output"], rtol=1e-3, atol=1e-3
    )
    assert thin.edits == (Replace(module="0", by="low-rank", rank=3),)
    weights = sum(p.numel() for n, p in thin.module.named_parameters() if n.endswith("weight"))
    assert weights == 3 * sum(sizes)
    (decision,) = context.events.decisions
    assert decision.layers["0"].after == weights
    assert decision.layers["0"].error < 1e-3
    thin.save(tmp_path)
    torch.manual_seed(1)
    fresh = Model.load(tmp_path, lambda _: wrapped(nn.Sequential(layer()), *shape))
    assert fresh.digest == thin.digest


def test_data_says_what_may_go(noted):
    torch.manual_seed(0)
    scale = np.where(np.arange(64) < 12, 1.0, 0.01)
    model = wrapped(nn.Sequential(nn.Linear(64, 64)), 64)
    context = replace(noted, data={"calibration": seen(64, count=300, scale=scale)})
    feed = {"x": np.concatenate([s.inputs[0]["x"] for s in context.data["calibration"]])}
    expected = model.run(feed)["output"]
    bias = model.module[0].bias.detach().numpy()
    errors = {}
    for method in ("svd", "whitened", "drone"):
        given = LowRank(method=method, ratio=0.5).apply(model, context).run(feed)["output"]
        lost = np.linalg.norm(given - expected) / np.linalg.norm(expected - bias)
        told = context.events.decisions[-1].layers["0"]
        assert told.rank == 16
        assert told.error == pytest.approx(lost, rel=1e-3)
        errors[method] = told
    assert errors["drone"].error <= errors["whitened"].error * 1.001 < 0.1 * errors["svd"].error
    assert errors["drone"].error_svd == pytest.approx(errors["svd"].error)


def test_the_product_is_the_best_of_its_rank_for_the_inputs():
    torch.manual_seed(0)
    for shape in ((12, 20), (20, 12)):
        weights = torch.randn(shape, dtype=torch.float64)
        rows = torch.randn(50, shape[1], dtype=torch.float64) * torch.rand(shape[1])
        moment = rows.T @ rows
        outer, inner = factors(weights, spectrum(weights, moment).directions, 4)
        lost = ((weights - outer @ inner) @ rows.T).norm()
        best = torch.linalg.svdvals(weights @ rows.T)[4:].norm()
        torch.testing.assert_close(lost, best)


def test_a_pair_shows_the_weights_it_stands_for():
    torch.manual_seed(0)
    for layer in (nn.Linear(8, 6), nn.Conv2d(3, 6, 3)):
        pair = block(poor(layer, 2), Replace(module="m", by="low-rank", rank=2))
        torch.testing.assert_close(pair.weight, layer.weight, rtol=1e-4, atol=1e-4)
        assert pair.bias is pair[1].bias


@pytest.mark.parametrize(
    ("layer", "rank"), [(nn.Linear(4, 4), 5), (nn.Linear(4, 4), 0), (nn.ReLU(), 1)]
)
def test_a_block_that_cannot_stand_is_refused(layer, rank):
    with pytest.raises(ModelError) as caught:
        block(layer, Replace(module="m", by="low-rank", rank=rank))
    assert caught.value.code == "E429"


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, groups=8, padding=1)
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.narrow = nn.Linear(16, 2)
        self.wide = nn.Linear(16, 64)

    def forward(self, x):
        states, _ = self.lstm(self.conv(x.transpose(1, 2)).transpose(1, 2))
        states = self.attention(states, states, states, need_weights=False)[0]
        return self.narrow(states), self.wide(states)


def test_what_cannot_or_would_not_save_is_spared_with_the_reason(noted):
    model = wrapped(Mixed(), 5, 8)
    LowRank(method="svd", rank=4).apply(model, noted)
    (decision,) = noted.events.decisions
    assert set(decision.layers) == {"wide"}
    assert decision.layers["wide"].error is None
    reasons = {
        "conv": "form groups",
        "lstm": "recurrent",
        "attention": "several matrices",
        "attention.out_proj": "reads its weights itself",
        "narrow": "would not save: it must be at most 1",
    }
    assert decision.spared.keys() == reasons.keys()
    assert all(reasons[name] in decision.spared[name] for name in reasons)
    with pytest.raises(ModelError) as caught:
        LowRank(method="svd", rank=4, keep=("wide",)).apply(model, noted)
    assert caught.value.code == "E464"


class Language(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
        if kind == "gpt2":
            config = transformers.GPT2Config(
                vocab_size=20, n_positions=16, n_embd=32, n_layer=2, n_head=2
            )
            self.net = transformers.GPT2LMHeadModel(config)
        elif kind == "llama":
            config = transformers.LlamaConfig(
                vocab_size=20,
                intermediate_size=64,
                num_key_value_heads=2,
                tie_word_embeddings=True,
                **sizes,
            )
            self.net = transformers.LlamaForCausalLM(config)
        else:
            config = transformers.BertConfig(vocab_size=20, intermediate_size=64, **sizes)
            self.net = transformers.BertForSequenceClassification(config)

    def forward(self, input_ids):
        return self.net(input_ids=input_ids).logits


def language(kind):
    spec = TensorSpec(name="input_ids", dtype="int64", shape=("batch", 6))
    return Model.of(Language(kind), (spec,), {"input_ids": np.arange(6)[None]})


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_transformers_become_thin_within_a_budget(kind, noted, tmp_path):
    rng = np.random.default_rng(0)
    data = Rows(Sample(({"input_ids": rng.integers(0, 20, (1, 6))},)) for _ in range(32))
    context = replace(noted, data={"calibration": data})
    model = language(kind)
    whole = model.facts()["parameters"]
    thin = LowRank(params=int(0.7 * whole)).apply(model, context)
    assert 0.68 * whole < thin.facts()["parameters"] <= 0.7 * whole
    assert thin.facts()["multiply_adds"] < 0.8 * model.facts()["multiply_adds"]
    (decision,) = context.events.decisions
    assert all(one.error <= one.error_svd + 1e-6 for one in decision.layers.values())
    assert not any("embed" in name or "wte" in name for name in decision.layers)
    thin.save(tmp_path)
    assert Model.load(tmp_path, lambda _: language(kind)).digest == thin.digest


def test_a_thin_convnet_exports_and_answers_the_same(digits, context, accuracy, tmp_path):
    import onnxruntime

    thin = LowRank(ratio=0.6, keep=("stem.*", "head")).apply(digits, context)
    assert accuracy(thin) > 0.9
    graph = to_graph(thin, 18).graph
    graph.save(tmp_path)
    (file,) = tmp_path.glob("*.onnx")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    feed = thin.sized({"batch": 3})
    (given,) = session.run(None, dict(feed))
    np.testing.assert_allclose(given, thin.run(feed)["logits"], rtol=1e-3, atol=1e-4)
    assert file.stat().st_size < 0.7 * 4 * digits.facts()["parameters"]


def test_energy_takes_the_least_rank_that_keeps_it():
    energies = torch.tensor([6.0, 3.0, 0.9, 0.1])
    assert [by_energy(energies, share) for share in (0.5, 0.6, 0.61, 0.95, 0.999)] == [
        1,
        1,
        2,
        3,
        4,
    ]


def test_a_budget_goes_where_it_helps():
    shapes = {"steep": (8, 8), "flat": (8, 8)}
    energies = {"steep": torch.tensor([9.0] + [0.01] * 7), "flat": torch.ones(8)}
    assert by_budget(shapes, energies, 64, 64) == {"steep": 1, "flat": 3}
    assert by_budget(shapes, energies, 16 + 64, 80) == {"steep": 1, "flat": 8}
    with pytest.raises(ModelError) as caught:
        by_budget(shapes, energies, 31, 31)
    assert caught.value.code == "E466"


@pytest.mark.parametrize("options", [{}, {"rank": 2, "ratio": 0.5}, {"energy": 1.5}])
def test_exactly_one_measure_is_given(options):
    with pytest.raises(ValidationError):
        LowRank.model_validate(options)


@pytest.mark.parametrize(
    ("options", "code"), [({}, "E227"), ({"method": "svd", "keep": ("nothing",)}, "E263")]
)
def test_what_is_missing_is_named(noted, options, code):
    with pytest.raises(UsageError) as caught:
        LowRank(rank=2, **options).apply(wrapped(nn.Sequential(nn.Linear(9, 9)), 9), noted)
    assert caught.value.code == code


def test_great_losses_and_few_samples_are_noted(noted):
    torch.manual_seed(0)
    context = replace(noted, data={"calibration": seen(64, count=8)})
    LowRank(rank=1).apply(wrapped(nn.Sequential(nn.Linear(64, 64)), 64), context)
    first, second = context.events.notes
    assert "more calibration samples" in first
    assert "let `finetune` follow" in second
