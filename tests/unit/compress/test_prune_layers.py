from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from nets import MAKERS, bert, gpt2, other, vit
from pydantic import ValidationError
from torch import nn

from edgepack.compress.batches import Batches
from edgepack.compress.depth import PruneLayers
from edgepack.compress.influence import influence
from edgepack.compress.layer_drop import LayerDrop
from edgepack.errors import ModelError
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.attention import attentions_of, blocks_of
from edgepack.model.edits import replay
from edgepack.types import Drop, Insert, Sample, TensorSpec, Tie


class Rows(list):
    digest, generated = "rows", False


def texts(count=8):
    ids = np.random.default_rng(0).integers(0, 50, (count, 1, 6))
    return Rows(
        Sample(({"input_ids": i, "attention_mask": np.ones((1, 6), np.int64)},), n % 3)
        for n, i in enumerate(ids)
    )


@pytest.mark.parametrize("name", MAKERS)
def test_layers_go_from_every_kind_of_transformer(name, context, tmp_path):
    pruned = PruneLayers(drop=(1, 2)).apply(MAKERS[name](), context)
    assert len(pruned.module.get_submodule(blocks_of(pruned.module))) == 2
    assert pruned.module.model.config.num_hidden_layers == 2
    pruned.run(pruned.example)
    pruned.save(tmp_path)
    assert Model.load(tmp_path, lambda _: MAKERS[name](1)).digest == pruned.digest


def test_a_layer_that_does_nothing_goes_first(context, events):
    model = gpt2()
    with torch.no_grad():
        for name in (attentions_of(model.module)[2].joining, "model.transformer.h.2.mlp.c_proj"):
            model.module.get_submodule(name).weight.zero_()
            model.module.get_submodule(name).bias.zero_()
    pruned = PruneLayers(ratio=0.25).apply(model, replace(context, data={"train": texts()}))
    assert events.decisions[0].dropped == (2,)
    np.testing.assert_allclose(
        pruned.run(model.example)["logits"], model.run(model.example)["logits"], atol=1e-5
    )


@pytest.mark.parametrize(
    ("criterion", "gone"), [("last", (2, 3)), ("first", (0, 1)), ("alternate", (1, 3))]
)
def test_patterns(context, events, criterion, gone):
    PruneLayers(ratio=0.5, criterion=criterion).apply(vit(), context)
    assert events.decisions[0].dropped == gone


def test_padding_does_not_count():
    model = other("Roberta")
    blocks = model.module.get_submodule(blocks_of(model.module))
    ids = np.array([[5, 6, 7, 8]])
    plain = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    padded = {name: np.pad(a, [(0, 0), (0, 6)]) for name, a in plain.items()}
    scores = [
        influence(model, blocks, Batches.of(model, Rows([Sample((feed,), 0)]), labelled=False))
        for feed in (plain, padded)
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)


def test_kinds_of_layers_follow_the_layers():
    kinds = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    model = other("Qwen2", layer_types=kinds, sliding_window=4, use_sliding_window=True)
    cut = replay(model, [Drop(module="model.layers", indices=(0, 3))])
    assert cut.module.model.config.layer_types == kinds[1:3]
    grown = replay(model, [Insert(module="model.layers", layers=(1, 3))])
    assert grown.module.model.config.layer_types == [*kinds[:2], kinds[1], *kinds[2:], kinds[3]]
    assert grown.module.model.config.num_hidden_layers == 6
    np.testing.assert_allclose(
        grown.run(model.example)["logits"], model.run(model.example)["logits"], atol=1e-5
    )


def test_blocks_hold_attention_and_are_no_experts():
    blocks = bert().module
    for layer in blocks.get_submodule("model.bert.encoder.layer"):
        layer.experts = nn.ModuleList(nn.Linear(32, 32) for _ in range(8))
    assert blocks_of(blocks) == "model.bert.encoder.layer"


def both(seed=0):
    torch.manual_seed(seed)
    config = transformers.BartConfig(
        vocab_size=50, d_model=32, encoder_layers=3, decoder_layers=3, encoder_ffn_dim=64,
        decoder_ffn_dim=64, encoder_attention_heads=4, decoder_attention_heads=4,
        max_position_embeddings=16, attn_implementation="eager",
    )  # fmt: skip

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = transformers.BartModel(config)

        def forward(self, ids):
            return self.model(input_ids=ids, decoder_input_ids=ids, use_cache=False)[0]

    spec = TensorSpec(name="input_ids", dtype="int64", shape=("batch", "sequence"))
    return Model.of(Both(), (spec,), {"input_ids": np.array([[5, 6, 7]])})


def test_layers_that_stay_and_layers_that_share_are_told(context, events):
    pruned = PruneLayers(drop=(1,)).apply(both(), context)
    assert len(pruned.module.model.decoder.layers) == 3
    assert events.notes == [
        "layers of `model.encoder.layers` are dropped; those of `model.decoder.layers` stay"
    ]
    name = "model.bert.encoder.layer"
    tied = replay(bert(), [Tie(module=f"{name}.{place}", to=f"{name}.0") for place in (1, 2, 3)])
    PruneLayers(drop=(1,)).apply(tied, context)
    assert "share their weights" in events.notes[1]


class Widening(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, n + 1) for n in (4, 5, 6))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_layers_that_change_the_shape_are_refused(context):
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
    x = np.ones((1, 4), np.float32)
    model = Model.of(Widening(), (spec,), {"x": x})
    data = Rows(Sample(({"x": x},), n % 3) for n in range(4))
    context = replace(context, data={"train": data})
    for one, code in (
        (PruneLayers(drop=(1,)), "E468"),
        (PruneLayers(ratio=0.4), "E468"),
        (LayerDrop(rate=0.9), "E449"),
    ):
        with pytest.raises(ModelError) as caught:
            one.apply(model, context)
        assert caught.value.code == code


def test_the_file_has_fewer_layers(context):
    whole, pruned = bert(), PruneLayers(drop=(0, 1, 2)).apply(bert(), context)
    sizes = [len(to_graph(m, 21).graph.proto().graph.initializer) for m in (whole, pruned)]
    assert sizes[1] < sizes[0]


def test_none_all_and_other_models_are_refused(context, digits):
    for options in ({"ratio": 0.9999}, {"drop": (7,)}, {"ratio": 0.1}):
        with pytest.raises(ModelError) as caught:
            PruneLayers(criterion="random", **options).apply(bert(), context)
        assert caught.value.code == "E468"
    with pytest.raises(ModelError, match="no list of blocks"):
        PruneLayers(ratio=0.5).apply(digits, context)
    with pytest.raises(ValidationError, match="either"):
        PruneLayers()


def test_training_with_layers_left_out_makes_dropping_cheaper(context):
    data = texts(48)
    context = replace(context, data={"train": data})
    schedule = {"epochs": 12, "batch_size": 16, "learning_rate": 3e-3}

    def loss(model):
        ids = np.concatenate([s.inputs[0]["input_ids"] for s in data])
        given = model.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"]
        wanted = torch.tensor([s.label for s in data])
        return float(torch.nn.functional.cross_entropy(torch.tensor(given), wanted))

    from edgepack.compress.finetune import Finetune

    usual = Finetune(**schedule).apply(bert(), context)
    hardened = LayerDrop(rate=0.4, **schedule).apply(bert(), context)
    drop = PruneLayers(drop=(1, 2))
    cost = [loss(drop.apply(m, context)) - loss(m) for m in (usual, hardened)]
    assert cost[1] < cost[0]
