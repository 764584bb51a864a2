"""Decoders through a whole build: from a folder or a GGUF file to an artifact that scores."""

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from edgepack.api import build

LETTERS = "abcdefghijklmnopqrstuvwxyz .,\n"
DECODERS = {
    "gpt2": (
        transformers.GPT2LMHeadModel,
        transformers.GPT2Config(
            vocab_size=32, n_positions=64, n_embd=32, n_layer=2, n_head=4,
            bos_token_id=1, eos_token_id=2,
        ),
    ),
    "llama": (
        transformers.LlamaForCausalLM,
        transformers.LlamaConfig(
            vocab_size=32, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        ),
    ),
}  # fmt: skip
RECIPE = """
[model]
source = "./decoder"

[data]
train      = "train.txt"
evaluation = "held-out.txt"
metric     = "perplexity"

[data.text]
window = 24

[[steps]]
pass = "finetune"
epochs = 6
learning_rate = 0.01
batch_size = 4

[gates]
max_drop = 1000
"""


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_learns_text_and_is_scored_by_its_perplexity(tmp_path, name):
    kind, config = DECODERS[name]
    torch.manual_seed(0)
    kind(config).save_pretrained(tmp_path / "decoder")
    letters = Tokenizer(models.WordLevel({c: i for i, c in enumerate(["?", *LETTERS])}, "?"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.save(str(tmp_path / "decoder" / "tokenizer.json"))
    (tmp_path / "train.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 16)
    (tmp_path / "held-out.txt").write_text("the lazy dog jumps over the quick fox.\n" * 6)
    (tmp_path / "edgepack.toml").write_text(RECIPE)
    report = build(
        recipe=tmp_path / "edgepack.toml", targets=["x86"], out=tmp_path / "out", on=["local"]
    )
    target = report.targets[0]
    assert target.verdict == "pass", [g for g in target.gates if g.verdict != "pass"]
    assert target.metric.before > 25  # 32 letters, and nothing is known of them
    assert target.metric.after < 10
