import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from nets import Noted
from pydantic import ValidationError
from torch import nn

from edgepack.compress.codebook import clustered
from edgepack.compress.share import Share
from edgepack.errors import ModelError, UsageError
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.blocks import block
from edgepack.types import Replace, TensorSpec


@pytest.fixture
def noted(context):
    return replace(context, events=Noted(), data={})


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.bert = transformers.BertModel(
            transformers.BertConfig(
                vocab_size=60,
                hidden_size=16,
                num_hidden_layers=4,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=16,
                attn_implementation="eager",
            )
        )

    def forward(self, input_ids):
        return self.bert(input_ids).last_hidden_state


class Decoder(nn.Module):
    def __init__(self, cached, tied=False):
        super().__init__()
        torch.manual_seed(0)
        self.llama = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=60,
                hidden_size=16,
                num_hidden_layers=4,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=32,
                max_position_embeddings=16,
                tie_word_embeddings=tied,
                attn_implementation="eager",
            )
        )
        self.llama.config.use_cache = cached

    def forward(self, input_ids):
        return self.llama(input_ids).logits


def read(module):
    ids = TensorSpec(name="input_ids", dtype="int64", shape=("batch", "length"))
    return Model.of(module, (ids,), {"input_ids": np.arange(6)[None] + 1})


def size(model):
    return sum(
        t.const_value.nbytes for t in to_graph(model, 20).graph.model.graph.initializers.values()
    )


@pytest.fixture(scope="module")
def encoder():
    return read(Encoder())


def stack(model):
    return next(m for m in model.module.modules() if isinstance(m, nn.ModuleList))


def test_all_layers_become_one_with_the_mean_of_their_weights(encoder, noted):
    made = Share(layers="all").apply(encoder, noted)
    layers = stack(made)
    assert all(layer is layers[0] for layer in layers)
    old = [next(layer.parameters()).detach() for layer in stack(encoder)]
    assert torch.allclose(next(layers[0].parameters()), torch.stack(old).mean(0), atol=1e-7)
    told = noted.events.decisions[0]
    (one,) = told.stacks.values()
    assert one.before == 4 * one.after
    assert told.before - told.after == one.before - one.after
    assert made.facts()["multiply_adds"] == encoder.facts()["multiply_adds"]
    assert "latency do not" in noted.events.notes[0]


@pytest.mark.parametrize(("init", "place"), [("first", 0), ("middle", 1)])
def test_one_layer_starts_with_the_weights_of_a_place(encoder, noted, init, place):
    made = Share(layers="all", init=init).apply(encoder, noted)
    old = next(stack(encoder)[place].parameters())
    assert torch.equal(next(stack(made)[3].parameters()), old)


def test_groups_are_cut_evenly_or_named(encoder, noted):
    layers = stack(Share(layers=2).apply(encoder, noted))
    assert layers[0] is layers[1]
    assert layers[2] is layers[3]
    assert layers[1] is not layers[2]
    layers = stack(Share(layers=((1, 3),)).apply(encoder, noted))
    assert layers[1] is layers[3]
    assert len({id(layer) for layer in layers}) == 3


def test_a_shared_model_is_saved_once_and_loaded_as_it_was(encoder, noted, tmp_path: Path):
    made = Share(layers="all", embedding=4).apply(encoder, noted)
    made.save(tmp_path)
    again = Model.load(tmp_path, lambda _: read(Encoder()))
    assert again.digest == made.digest
    layers = stack(again)
    assert layers[3] is layers[0]
    weights = (tmp_path / "weights.safetensors").stat().st_size
    assert weights < 4 * made.facts()["parameters"] * 1.3


def test_a_shared_layer_is_in_the_file_once(encoder, noted):
    made = Share(layers="all").apply(encoder, noted)
    assert size(made) < 4.1 * made.facts()["parameters"]


def test_layers_that_know_their_place_are_refused(noted):
    with pytest.raises(ModelError, match="E484"):
        Share(layers="all").apply(read(Decoder(cached=True)), noted)


def test_layers_of_a_decoder_become_one(noted):
    made = Share(layers="all").apply(read(Decoder(cached=False)), noted)
    assert stack(made)[3] is stack(made)[0]


def test_the_output_layer_takes_the_weights_of_the_embedding(noted, tmp_path: Path):
    model = read(Decoder(cached=False))
    made = Share(tie_embeddings=True).apply(model, noted)
    llama = made.module.llama
    assert llama.lm_head.weight is llama.model.embed_tokens.weight
    assert torch.equal(llama.lm_head.weight, model.module.llama.model.embed_tokens.weight) is False
    assert model.facts()["parameters"] - made.facts()["parameters"] == 60 * 16
    made.save(tmp_path)
    again = Model.load(tmp_path, lambda _: read(Decoder(cached=False)))
    assert again.digest == made.digest
    assert again.module.llama.lm_head.weight is again.module.llama.model.embed_tokens.weight


def test_a_tied_embedding_is_neither_tied_again_nor_factorised(noted):
    model = read(Decoder(cached=False, tied=True))
    with pytest.raises(ModelError, match="E483") as refusal:
        Share(tie_embeddings=True, embedding=4).apply(model, noted)
    assert "already" in refusal.value.why
    assert "shares its weights" in refusal.value.why


def test_a_table_of_full_rank_is_factorised_exactly_where_its_rank_is_low():
    torch.manual_seed(0)
    table = nn.Embedding(50, 20, padding_idx=0)
    with torch.no_grad():
        table.weight.copy_(torch.randn(50, 3) @ torch.randn(3, 20))
    made = block(table, Replace(module="t", by="factorised-embedding", rank=3))
    ids = torch.arange(50)
    assert torch.allclose(made(ids), table(ids), atol=1e-4)
    assert made.padding_idx == 0
    assert sum(p.numel() for p in made.parameters()) == 3 * (50 + 20)


def test_a_wide_table_that_would_not_save_is_refused(encoder, noted):
    with pytest.raises(ModelError, match="must be at most 12"):
        Share(embedding=13).apply(encoder, noted)


def test_clusters_leave_that_many_values_and_a_smaller_download(encoder, noted):
    made = Share(clusters=16).apply(encoder, noted)
    weight = next(m for m in made.module.modules() if isinstance(m, nn.Linear)).weight
    assert len(weight.unique()) == 16
    told = noted.events.decisions[0]
    assert 0 < told.cluster_error < 0.2
    assert told.zipped[1] < 0.4 * told.zipped[0]
    assert "only the compressed download" in noted.events.notes[0]
    assert made.facts()["parameters"] == encoder.facts()["parameters"]


def test_a_codebook_is_a_fixed_point_of_k_means():
    weights = torch.randn(40, 50, generator=torch.manual_seed(0))
    found = clustered(weights, 8)
    values = found.unique().double()
    nearest = values[(weights.double().flatten()[:, None] - values).abs().argmin(1)]
    assert torch.allclose(nearest, found.double().flatten())
    for value in values:
        members = weights[found == value.float()].double()
        assert float(members.mean()) == pytest.approx(float(value), abs=1e-2)
    assert len(zlib.compress(found.numpy().tobytes())) < 0.3 * weights.numel() * 4


def test_few_values_stay_as_they_are():
    weights = torch.tensor([[0.5, 0.0, 0.5], [0.0, -1.0, 0.5]])
    assert torch.equal(clustered(weights, 4), weights)


def test_a_convnet_of_unlike_layers_has_nothing_to_share(noted):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3))
    image = TensorSpec(name="x", dtype="float32", shape=("batch", 1, 8, 8))
    model = Model.of(net, (image,), {"x": np.zeros((1, 1, 8, 8), np.float32)})
    with pytest.raises(ModelError, match="E483"):
        Share(layers="all").apply(model, noted)


def test_groups_that_no_list_has_are_refused(encoder, noted):
    with pytest.raises(UsageError, match="E253"):
        Share(layers=((0, 9),)).apply(encoder, noted)


@pytest.mark.parametrize(
    "options",
    [{}, {"layers": -1}, {"clusters": 1}, {"layers": [[0, 1], [1, 2]]}, {"layers": "some"}],
    ids=["nothing", "negative", "one-value", "twice", "unknown"],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        Share.model_validate(options)
