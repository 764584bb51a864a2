"""Families of models that are pruned: what shrinks, what is spared, and that it exports so."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from edgepack.compress.criteria.places import axis
from edgepack.compress.prune import Prune
from edgepack.errors import ModelError
from edgepack.export.trace import to_graph
from edgepack.graph.runner import ChildRunner
from edgepack.model import Model
from edgepack.model.groups import Groups
from edgepack.types import Sample, TensorSpec

SMALL = {"vocab_size": 48, "bos_token_id": 1, "eos_token_id": 2, "attn_implementation": "eager"}
INNER = 64


class Language(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


class Vision(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model(image).logits


def bert():
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=INNER, **SMALL
    )
    return transformers.BertForSequenceClassification(config)


def llama():
    config = transformers.LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=INNER,
        use_cache=False,
        **SMALL,
    )
    return transformers.LlamaForCausalLM(config)


def gpt2():
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=4, n_positions=32, n_inner=INNER, use_cache=False, **SMALL
    )
    return transformers.GPT2LMHeadModel(config)


def language(make):
    torch.manual_seed(0)
    specs = tuple(
        TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"))
        for name in ("input_ids", "attention_mask")
    )
    ids = np.arange(6).reshape(1, 6) + 1
    example = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return Model.of(Language(make()), specs, example, ("logits",))


def vit():
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=INNER,
        num_labels=5,
        attn_implementation="eager",
    )
    spec = TensorSpec(name="image", dtype="float32", shape=("batch", 1, 8, 8))
    model = Vision(transformers.ViTForImageClassification(config))
    return Model.of(model, (spec,), {"image": np.zeros((1, 1, 8, 8), np.float32)}, ("logits",))


FAMILIES = {
    "bert": (lambda: language(bert), "model.bert.encoder.layer.{}.intermediate.dense"),
    "llama": (lambda: language(llama), "model.model.layers.{}.mlp.up_proj"),
    "gpt2": (lambda: language(gpt2), "model.transformer.h.{}.mlp.c_fc"),
    "vit": (vit, "model.vit.layers.{}.mlp.fc1"),
}


def halved(family, context):
    model = FAMILIES[family][0]()
    keep = ("*pooler*",) if family == "bert" else ()
    return model, Prune(ratio=0.5, keep=keep).apply(model, context)


@pytest.mark.parametrize("family", FAMILIES)
def test_inner_widths_shrink_and_attention_is_spared(family, context, events):
    model, pruned = halved(family, context)
    name = FAMILIES[family][1]
    assert [edit.module for edit in pruned.edits] == [name.format(layer) for layer in range(2)]
    assert INNER in {size for p in model.module.parameters() for size in p.shape}
    assert INNER not in {size for p in pruned.module.parameters() for size in p.shape}
    spared = events.decisions[0].spared
    assert len([where for where in spared if "attn" in where or "attention" in where]) >= 2
    assert "its channels are an output of the model" in spared.values()


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_inner_widths_shrink_in_the_onnx_file(family, context):
    _, pruned = halved(family, context)
    graph = to_graph(pruned, 20).graph
    sizes = [tuple(tensor.dims) for tensor in graph.proto().graph.initializer]
    assert not [shape for shape in sizes if len(shape) == 2 and INNER in shape]
    feed = pruned.sized({"batch": 2}, seed=3)
    with ChildRunner().open(graph) as session:
        given = session.run(feed)["logits"]
    np.testing.assert_allclose(given, pruned.run(feed)["logits"], atol=2e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("criterion", ["taylor", "activation"])
def test_decoders_are_judged_by_the_next_token(family, criterion, context):
    model = FAMILIES[family][0]()
    name = FAMILIES[family][1].format(0)
    weak = list(range(0, INNER, 2))
    (group,) = (g for g in Groups(model) if g.name == name)
    with torch.no_grad():
        for member in group.members:
            layer = model.module.get_submodule(member.module)
            layer.weight.transpose(0, axis(layer, member))[weak] *= 1e-3
    data = {split: Texts() for split in ("train", "calibration")}
    pruned = Prune(ratio=0.5, criterion=criterion).apply(model, replace(context, data=data))
    assert list(pruned.edits[0].indices) == weak


class Texts:
    """Token ids of two lengths, without labels."""

    generated = False
    digest = "texts"

    def __len__(self):
        return 12

    def __iter__(self):
        rng = np.random.default_rng(0)
        for place in range(12):
            ids = rng.integers(3, 48, (1, 5 + place % 2))
            yield Sample(({"input_ids": ids, "attention_mask": np.ones_like(ids)},))


def conv(inputs, outputs, size=1, groups=1):
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6())


class Inverted(nn.Module):
    def __init__(self, width):
        super().__init__()
        wide = 6 * width
        self.conv = nn.Sequential(
            conv(width, wide),
            conv(wide, wide, 3, wide),
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        return x + self.conv(x)


@pytest.mark.parametrize("criterion", ["batch-norm", "taylor"])
def test_inverted_residuals_keep_their_shape(criterion, context):
    torch.manual_seed(0)
    ends = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    module = nn.Sequential(conv(1, 16, 3), Inverted(16), Inverted(16), *ends)
    spec = TensorSpec(name="image", dtype="float32", shape=("batch", 1, 8, 8))
    model = Model.of(module, (spec,), {"image": np.zeros((1, 1, 8, 8), np.float32)}, ("logits",))
    pruned = Prune(macs=0.4, criterion=criterion, scope="global", samples=32).apply(model, context)
    assert pruned.facts()["multiply_adds"] <= 0.4 * model.facts()["multiply_adds"]
    for block in (pruned.module[1], pruned.module[2]):
        depthwise = block.conv[1][0]
        assert depthwise.groups == depthwise.in_channels == block.conv[0][0].out_channels
        assert block.conv[2].out_channels == pruned.module[0][0].out_channels
    assert len(pruned.run(pruned.sized({"batch": 3}))["logits"]) == 3


class Recurrent(nn.Module):
    def __init__(self, kind, before=False):
        super().__init__()
        self.before = nn.Linear(8, 16) if before else nn.Identity()
        self.states, self.head = kind(16 if before else 8, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        return self.head(torch.relu(self.states(self.before(x))[0][:, -1]))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("before", [False, True])
def test_recurrent_layers_are_refused_with_a_reason(kind, before, context):
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 5, 8))
    example = {"x": np.zeros((1, 5, 8), np.float32)}
    with pytest.raises(ModelError) as caught:
        Prune(ratio=0.5).apply(Model.of(Recurrent(kind, before), (spec,), example), context)
    assert caught.value.code == "E435"
    assert f"{kind.__name__} feeds its outputs back" in caught.value.why


class Tagged(nn.Module):
    """A recurrent layer whose states go through layers that may shrink."""

    def __init__(self):
        super().__init__()
        self.states = nn.LSTM(8, 32, batch_first=True)
        self.wide, self.head = nn.Linear(32, 64), nn.Linear(64, 3)

    def forward(self, x):
        return self.head(torch.relu(self.wide(self.states(x)[0])))


def test_what_follows_a_recurrent_layer_is_pruned(context, events):
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 5, 8))
    model = Model.of(Tagged(), (spec,), {"x": np.zeros((1, 5, 8), np.float32)})
    pruned = Prune(ratio=0.5).apply(model, context)
    assert [edit.module for edit in pruned.edits] == ["wide"]
    assert "feeds its outputs back" in events.decisions[0].spared["states"]
