from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import MAKERS, bert, gpt2, lived, llama, other
from torch import nn

from edgepack.compress.gates import chosen, gated
from edgepack.compress.heads import PruneHeads
from edgepack.errors import ModelError, UsageError
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.attention import attentions_of
from edgepack.model.edits import replay
from edgepack.types import Heads, Sample, TensorSpec


@pytest.mark.parametrize("name", MAKERS)
def test_heads_that_are_cut_are_heads_whose_gate_is_shut(name):
    model = MAKERS[name]()
    found = attentions_of(model.module)
    assert len(found) == 4
    assert {(one.heads, one.groups) for one in found} == {(4, 2 if name == "llama" else 4)}
    gates = [torch.ones(one.groups) for one in found]
    gates[1][0] = 0
    shut = model.copy()
    with gated(shut.module, found, gates):
        expected = shut.run(model.example)["logits"]
    cut = replay(model, [Heads(module=found[1].name, indices=(0,))])
    np.testing.assert_allclose(cut.run(model.example)["logits"], expected, atol=1e-5)
    assert cut.facts()["multiply_adds"] < model.facts()["multiply_adds"]


@pytest.mark.parametrize("name", ["Roberta", "DistilBert", "ModernBert", "Qwen2", "DebertaV2"])
def test_other_classes_lose_heads_as_if_their_gates_were_shut(name):
    model = other(name)
    found = attentions_of(model.module)
    gates = [torch.ones(one.groups) for one in found]
    gates[0][1] = gates[3][0] = 0
    with gated(model.module, found, gates):
        expected = model.run(model.example)["logits"]
    assert np.abs(expected - model.run(model.example)["logits"]).max() > 1e-3
    cuts = [Heads(module=found[place].name, indices=(head,)) for place, head in ((0, 1), (3, 0))]
    given = replay(model, cuts).run(model.example)["logits"]
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_heads_that_a_position_bias_of_all_layers_counts_are_refused(context):
    with pytest.raises(ModelError, match="no attention heads can be pruned") as caught:
        PruneHeads(ratio=0.5, criterion="l2").apply(other("MPNet"), context)
    assert caught.value.code == "E467"
    assert "position bias" in caught.value.why


@pytest.mark.parametrize("make", [gpt2, llama])
def test_layers_with_different_heads_answer_in_onnx_as_in_torch(make, tmp_path):
    import onnxruntime

    model = make()
    found = attentions_of(model.module)
    cuts = [Heads(module=one.name, indices=(0,)) for one in found[1:3]]
    if make is not llama:
        cuts.append(Heads(module=found[3].name, indices=(0, 1, 3)))
    cut = replay(model, cuts)
    config = cut.module.model.config
    assert config.num_attention_heads == 4  # what differs by layer lives in the edits
    to_graph(cut, 21).graph.save(tmp_path)
    (file,) = tmp_path.glob("*.onnx")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    feed = cut.sized({"batch": 2, "sequence": 5})
    (given,) = session.run(None, dict(feed))
    np.testing.assert_allclose(given, cut.run(feed)["logits"], rtol=1e-4, atol=1e-5)


def test_a_cut_model_comes_back_from_disk(tmp_path, context):
    pruned = PruneHeads(ratio=0.5, criterion="l2").apply(bert(), context)
    pruned.save(tmp_path)
    assert Model.load(tmp_path, lambda _: bert(1)).digest == pruned.digest


def test_shapes_shrink_in_the_onnx_file_too(context):
    pruned = PruneHeads(ratio=0.5, criterion="l2").apply(llama(), context)
    config = pruned.module.model.config
    assert (config.num_attention_heads, config.num_key_value_heads) == (2, 1)
    graph = to_graph(pruned, 21).graph
    shapes = {tuple(v.dims) for v in graph.proto().graph.initializer}
    assert (16, 32) in shapes or (32, 16) in shapes


def test_one_head_of_each_layer_stays_and_layers_share_a_ratio():
    scores = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([30.0, 10.0, 20.0])]
    assert chosen(scores, 0.9, "layer") == [[0, 1], [1, 2]]
    assert chosen(scores, 0.5, "global") == [[0, 1], [1]]
    apart = [torch.tensor([9.0, 8.0, 7.0]), torch.tensor([1.0, 2.0, 3.0])]
    assert chosen(apart, 0.33, "global") == [[], [0, 1]]
    assert [len(gone) for gone in chosen(scores, 0.99, "global")] == [2, 2]


class Rows(list):
    digest, generated = "rows", False


def test_what_pruning_heads_does_not_do_is_said(context, events):
    ids = np.arange(6).reshape(1, 6)
    rows = [Sample(({"input_ids": ids, "attention_mask": np.ones_like(ids)},), 1)]
    context = replace(context, data={"train": Rows(rows)})
    PruneHeads(ratio=0.9).apply(bert(), context)
    assert [note.split(":")[0] for note in events.notes] == [
        "1 samples judge the heads",
        "12 of 16 heads are removed, fewer than asked",
    ]
    PruneHeads(ratio=0.07, criterion="l2").apply(bert(), context)
    assert "do not expect a lower latency" in events.notes[2]


def test_a_head_that_nothing_reads_goes_first(context, events):
    model = bert()
    attention = attentions_of(model.module)[2]
    joining = model.module.get_submodule(attention.joining)
    with torch.no_grad():
        joining.weight[:, 8:16] = 0
    ids = np.random.default_rng(0).integers(0, 50, (8, 1, 6))
    data = Rows(
        Sample(({"input_ids": i, "attention_mask": np.ones((1, 6), np.int64)},), n % 3)
        for n, i in enumerate(ids)
    )
    PruneHeads(ratio=0.25).apply(model, replace(context, data={"train": data}))
    cuts = {cut.module: cut.indices for cut in events.decisions[0].cuts}
    assert cuts[attention.name] == (1,)


@pytest.mark.parametrize(
    ("make", "by"),
    [(bert, "width"), (llama, "width"), (gpt2, "depth"), (bert, "depth")],
)
def test_what_is_saved_can_be_given_back_as_width_or_depth(context, make, by):
    model = lived(make())
    options = {"ratio": 0.75, "criterion": "l2"}
    plain = PruneHeads(**options).apply(model, context)
    grown = PruneHeads(compensate=by, **options).apply(model, context)
    few, many, whole = (m.facts()["multiply_adds"] for m in (plain, grown, model))
    assert few < many <= whole
    assert whole - many < few / 4  # one layer of four, or less, is the smallest step
    answers = [m.run(model.example)["logits"] for m in (plain, grown)]
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_a_model_that_cannot_grow_is_refused(context):
    model = other("ModernBert")  # two halves of one layer gate its feed-forward part
    for by in ("width", "depth"):
        with pytest.raises(ModelError) as caught:
            PruneHeads(ratio=0.5, criterion="l2", compensate=by).apply(model, context)
        assert caught.value.code == "E469"


def test_what_has_no_attention_is_refused(context, digits):
    with pytest.raises(ModelError) as caught:
        PruneHeads(ratio=0.5).apply(digits, context)
    assert caught.value.code == "E467"


def test_a_name_that_fits_nothing_and_missing_data_are_told(context):
    with pytest.raises(UsageError, match="no part of the model is named"):
        PruneHeads(ratio=0.5, keep=("decoder.*",)).apply(bert(), context)
    with pytest.raises(UsageError, match="needs train data") as caught:
        PruneHeads(ratio=0.5).apply(bert(), replace(context, data={}))
    assert caught.value.code == "E227"


def test_a_recurrent_network_has_no_heads(context):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 8, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0]

    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 3, 4))
    model = Model.of(Recurrent(), (spec,), {"x": np.zeros((1, 3, 4), np.float32)})
    with pytest.raises(ModelError, match="no attention heads"):
        PruneHeads(ratio=0.5).apply(model, context)
