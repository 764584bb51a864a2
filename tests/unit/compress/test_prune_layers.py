from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import MAKERS, bert, gpt2, vit
from pydantic import ValidationError

from edgepack.compress.depth import PruneLayers
from edgepack.compress.layer_drop import LayerDrop
from edgepack.errors import ModelError
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.attention import attentions_of, blocks_of
from edgepack.types import Sample


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
