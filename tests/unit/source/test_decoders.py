"""Decoders of transformers: what they give, and that ONNX gives the same."""

import numpy as np
import pytest
import torch
import transformers

from edgepack.base import Context, Silent
from edgepack.export.export import Export
from edgepack.graph.runner import ChildRunner
from edgepack.model import Model
from edgepack.source.transformers import TransformersSource

GPT2 = transformers.GPT2Config(
    vocab_size=40, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2
)
LLAMA = transformers.LlamaConfig(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
)
DECODERS = {
    "gpt2": (transformers.GPT2LMHeadModel, GPT2),
    "llama": (transformers.LlamaForCausalLM, LLAMA),
}


@pytest.fixture
def context(tmp_path_factory):
    return Context(tmp_path_factory.mktemp("work"), 0, {}, ChildRunner(), Silent())


def saved(folder, name):
    kind, config = DECODERS[name]
    torch.manual_seed(0)
    network = kind(config).eval()
    network.save_pretrained(folder)
    return network


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_scores_every_token(tmp_path, context, name):
    network = saved(tmp_path, name)
    source = TransformersSource(tmp_path)
    model = source.load(context)
    assert source.task is None  # told from the class that was saved
    assert [spec.name for spec in model.inputs] == ["input_ids", "attention_mask"]
    assert [str(spec) for spec in model.outputs] == ["logits: float32[batch, sequence, 40]"]
    feed = model.sized({"batch": 2, "sequence": 11})
    with torch.no_grad():
        expected = network(**{k: torch.from_numpy(v) for k, v in feed.items()}).logits
    np.testing.assert_allclose(model.run(feed)["logits"], expected, atol=1e-5)
    model.save(context.work)
    assert Model.load(context.work, lambda _: source.fresh(context)).digest == model.digest


@pytest.mark.parametrize("name", DECODERS)
def test_no_token_sees_what_follows_it_once_exported(tmp_path, context, name):
    saved(tmp_path, name)
    model = TransformersSource(tmp_path, "text-generation").load(context)
    graph = Export(opset=21).apply(model, context)
    ids = np.random.default_rng(0).integers(0, 40, (1, 13))
    changed = ids.copy()
    changed[0, 9] = (changed[0, 9] + 1) % 40
    mask = np.ones_like(ids)
    with context.runner.open(graph) as session:
        one, other, short = (
            session.run({"input_ids": i, "attention_mask": m})["logits"]
            for i, m in ((ids, mask), (changed, mask), (ids[:, :9], mask[:, :9]))
        )
    np.testing.assert_allclose(one[:, :9], other[:, :9], atol=1e-5)
    np.testing.assert_allclose(one[:, :9], short, atol=1e-5)
    assert np.abs(one[:, 9:] - other[:, 9:]).max() > 1e-3
