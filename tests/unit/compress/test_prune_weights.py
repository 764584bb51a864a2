from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from nets import Noted, Rows, wrapped
from pydantic import ValidationError
from torch import nn

from edgepack.compress.activations import Inputs
from edgepack.compress.sparsity import sparsegpt, wanda
from edgepack.compress.sparsity.choice import least_of_all, least_of_runs
from edgepack.compress.weights import PruneWeights
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.types import Sample, TensorSpec

METHODS = ["magnitude", "gradient", "movement", "wanda", "sparsegpt"]


@pytest.fixture
def noted(context):
    return replace(context, events=Noted())


def zeros(model, name):
    return float((model.module.get_submodule(name).weight == 0).float().mean())


@pytest.mark.parametrize("method", METHODS)
def test_each_layer_gets_its_share_and_nothing_else_changes(method, digits, noted, accuracy):
    before = digits.digest
    one = PruneWeights(method=method, ratio=0.5, keep=("stem.*", "head"), samples=64, epochs=1)
    model = one.apply(digits, noted)
    (decision,) = noted.events.decisions
    assert set(decision.layers) == {"block.first.0", "block.second.0", "down1.0", "down2.0"}
    assert decision.spared == dict.fromkeys(("stem.0", "head"), "named under `keep`")
    for name, layer in decision.layers.items():
        assert zeros(model, name) == layer.after == pytest.approx(0.5, abs=1e-3)
    assert zeros(model, "stem.0") == 0
    assert digits.digest == before
    assert model.edits == ()
    assert accuracy(model) > 0.6
    assert any("latency and the file stay" in note for note in noted.events.notes)
    assert decision.compressed_after < 0.75 * decision.compressed_before
    if method != "movement":
        biases = [n for n, _ in digits.module.named_parameters() if not n.endswith("0.weight")]
        then, now = digits.module.state_dict(), model.module.state_dict()
        assert all(torch.equal(then[name], now[name]) for name in biases)


@pytest.mark.parametrize("method", ["gradient", "movement"])
def test_the_same_seed_gives_the_same_weights(method, noted):
    rng = np.random.default_rng(0)
    rows = [
        Sample(({"x": rng.standard_normal((1, 6)).astype(np.float32)},), i % 3) for i in range(40)
    ]
    context = replace(noted, data={"train": Rows(rows)})
    model = wrapped(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), 6)
    one = PruneWeights(method=method, ratio=0.5, epochs=3, batch_size=8, learning_rate=0.01)
    first, second = one.apply(model, context), one.apply(model, context)
    assert first.digest == second.digest != model.digest
    assert zeros(first, "0") == 0.5
    assert type(first.module[0]) is nn.Linear
    assert all(p.requires_grad for p in first.module.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_of_each_four_two_stay(method, digits, noted):
    one = PruneWeights(method=method, pattern="2:4", keep=("stem.*",), samples=32, epochs=1)
    model = one.apply(digits, noted)
    weight = model.module.get_submodule("down1.0").weight.detach()
    assert ((weight.reshape(-1, 4) != 0).sum(1) == 2).all()


def test_what_is_left_over_at_a_rows_end_stays():
    marks = least_of_runs(torch.tensor([[3.0, 1.0, 2.0, 5.0, 4.0]]), 1, 2)
    assert marks.tolist() == [[False, True, True, False, False]]


def test_layers_compete_where_asked():
    scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3.0, 4.0]])}
    marks = least_of_all(scores, 0.5)
    assert marks["a"].all()
    assert not marks["b"].any()


def inputs(rows):
    rows = torch.tensor(rows, dtype=torch.float64)
    return Inputs(len(rows), (rows.T @ rows)[None])


def test_wanda_weighs_by_the_input():
    weights = torch.tensor([[[1.0, 2.0], [9.0, 2.0]]])
    given = wanda.pruned(weights, inputs([[10.0, 1.0]]), PruneWeights(method="wanda", ratio=0.5))
    assert given.tolist() == [[[1.0, 0.0], [9.0, 0.0]]]


def test_sparsegpt_hands_a_weight_to_a_twin_of_its_input():
    weights = torch.tensor([[[1.0, 1.5, 4.0]]])
    rows = [[1.0, 1.0, 0.1], [-1.0, -1.0, 0.2], [2.0, 2.0, -0.1]]
    one = PruneWeights(method="sparsegpt", ratio=0.34)
    given = sparsegpt.pruned(weights, inputs(rows), one)[0, 0]
    assert (given == 0).tolist() == [True, False, False] or (given == 0).tolist()[1]
    assert float(given[:2].sum()) == pytest.approx(2.5, rel=0.05)


def test_sparsegpt_errs_less_than_zeros_alone_and_zeroes_what_is_never_fed():
    torch.manual_seed(0)
    rows = torch.randn(200, 12, dtype=torch.float64) @ torch.randn(12, 300, dtype=torch.float64)
    rows[:, 7] = 0
    weights = torch.randn(1, 8, 300)
    seen = Inputs(len(rows), (rows.T @ rows)[None])
    one = PruneWeights(method="sparsegpt", ratio=0.75)
    given = sparsegpt.pruned(weights, seen, one)
    plain = wanda.pruned(weights, seen, one)
    assert float((given == 0).float().mean()) == pytest.approx(0.75, abs=0.01)
    assert not given[..., 7].any()

    def error(other):
        return float(((weights - other)[0].double() @ rows.T).norm())

    assert error(given) < 0.2 * error(plain)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def test_recurrent_weights_are_spared_with_a_reason(noted):
    model = PruneWeights(ratio=0.5).apply(wrapped(Recurrent(), 3, 4), noted)
    (decision,) = noted.events.decisions
    assert "recurrent" in decision.spared["lstm"]
    assert zeros(model, "head") == 0.5
    with pytest.raises(ModelError) as caught:
        PruneWeights(ratio=0.5, keep=("head",)).apply(model, noted)
    assert caught.value.code == "E463"
    assert "lstm: its matrices are recurrent" in caught.value.why


class Decoder(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        if kind == "gpt2":
            config = transformers.GPT2Config(
                vocab_size=20, n_positions=16, n_embd=16, n_layer=2, n_head=2
            )
            self.net = transformers.GPT2LMHeadModel(config)
        else:
            config = transformers.LlamaConfig(
                vocab_size=20,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                tie_word_embeddings=True,
            )
            self.net = transformers.LlamaForCausalLM(config)

    def forward(self, input_ids):
        return self.net(input_ids=input_ids, use_cache=False).logits


def decoder(kind):
    spec = TensorSpec(name="input_ids", dtype="int64", shape=("batch", 6))
    return Model.of(Decoder(kind), (spec,), {"input_ids": np.arange(6)[None]})


@pytest.mark.parametrize("method", ["gradient", "sparsegpt"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_decoders_keep_their_embeddings(kind, method, noted, tmp_path):
    rng = np.random.default_rng(0)
    data = Rows(Sample(({"input_ids": rng.integers(0, 20, (1, 6))},)) for _ in range(16))
    context = replace(noted, data={"calibration": data})
    model = PruneWeights(method=method, ratio=0.5).apply(decoder(kind), context)
    (decision,) = context.events.decisions
    assert "the embedding" in decision.spared["net.lm_head"]
    assert len(decision.layers) == (8 if kind == "gpt2" else 14)
    assert all(one.after == pytest.approx(0.5, abs=0.02) for one in decision.layers.values())
    assert zeros(model, "net.lm_head") == 0
    model.save(tmp_path)
    assert Model.load(tmp_path, lambda _: decoder(kind)).digest == model.digest


def test_embeddings_are_taken_once_where_asked(noted):
    model = PruneWeights(ratio=0.5, embeddings=True).apply(decoder("llama"), noted)
    assert zeros(model, "net.lm_head") == zeros(model, "net.model.embed_tokens") == 0.5


@pytest.fixture
def words(noted):
    """A model of eight words, and samples that hold two of them."""
    data = Rows(Sample(({"x": np.array([[word]])},), word) for word in (0, 1))
    spec = TensorSpec(name="x", dtype="int64", shape=("batch", 1))
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(8, 4), nn.Flatten(), nn.Linear(4, 2))
    model = Model.of(module, (spec,), {"x": np.zeros((1, 1), np.int64)})
    return model, replace(noted, data={"train": data})


@pytest.mark.parametrize("method", ["gradient", "movement"])
def test_a_word_that_no_sample_holds_keeps_its_largest_numbers(method, words):
    model, context = words
    one = PruneWeights(method=method, ratio=0.5, embeddings=True, epochs=8)
    weight = one.apply(model, context).module[0].weight
    assert ((weight == 0).sum(1) == 2).all()
    before = model.module[0].weight.detach()
    largest = before.abs().topk(2).indices.sort().values
    kept = weight.nonzero()[:, 1].reshape(8, 2)
    assert torch.equal(kept[2:], largest[2:])
    assert not any("made no difference" in note for note in context.events.notes)


def test_words_that_no_sample_holds_are_noted_where_all_weights_compete(words):
    model, context = words
    one = PruneWeights(method="gradient", ratio=0.5, embeddings=True, scope="global")
    weight = one.apply(model, context).module[0].weight
    assert "60 % of these weights made no difference" in context.events.notes[0]
    assert (weight[:2] != 0).any()
    assert (weight[2:] == 0).sum() > 12


def test_a_sparse_model_is_noted(digits, noted):
    once = PruneWeights(ratio=0.5).apply(digits, noted)
    PruneWeights(ratio=0.3).apply(once, noted)
    assert "came in sparse, and nothing was gained" in noted.events.notes[-1]


def test_too_few_rows_are_noted(digits, noted):
    PruneWeights(method="wanda", ratio=0.5, samples=1).apply(digits, noted)
    assert "more calibration samples" in noted.events.notes[0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ratio": 0.5, "pattern": "2:4"},
        {"pattern": "4:2"},
        {"pattern": "half"},
        {"pattern": "2:4", "scope": "global"},
        {"ratio": 0.5, "method": "wanda", "scope": "global"},
        {"ratio": 0.5, "method": "sparsegpt", "embeddings": True},
    ],
)
def test_options_that_disagree_are_refused(options):
    with pytest.raises(ValidationError):
        PruneWeights.model_validate(options)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"method": "wanda"}, "E227"),
        ({"method": "movement"}, "E227"),
        ({"keep": ("stam.*",)}, "E263"),
    ],
)
def test_what_is_missing_is_named(digits, noted, options, code):
    with pytest.raises(UsageError) as caught:
        PruneWeights(ratio=0.5, **options).apply(digits, replace(noted, data={}))
    assert caught.value.code == code
