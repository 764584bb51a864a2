import struct
import subprocess
import sys

import gguf
import numpy as np
import pytest
import torch
import transformers

from edgepack.base import Context, Silent
from edgepack.data import open_data
from edgepack.errors import ModelError, UsageError
from edgepack.model import Model
from edgepack.source.gguf import GgufSource
from edgepack.source.reference import open_source

HEADS, SHARED, WIDTH = 4, 2, 16
CONFIG = transformers.LlamaConfig(
    vocab_size=9,
    hidden_size=WIDTH,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=HEADS,
    num_key_value_heads=SHARED,
    max_position_embeddings=64,
    tie_word_embeddings=True,
    rms_norm_eps=1e-5,
)
WORDS = ["<s>", "a", "b", "c", "ab", "Ġ", "Ġa", "Ġb", "d"]
MERGES = ["a b", "Ġ a", "Ġ b"]
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture
def context(tmp_path_factory):
    return Context(tmp_path_factory.mktemp("work"), 0, {}, None, Silent())


def interleaved(weight, heads):
    """Order the rows of a projection as llama.cpp rotates them."""
    return weight.reshape(heads, 2, -1, WIDTH).swapaxes(1, 2).reshape(weight.shape)


def write(path, architecture="llama", leave_out="", tokenizer=True):
    torch.manual_seed(0)
    network = transformers.LlamaForCausalLM(CONFIG).eval()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2)
    writer.add_feed_forward_length(24)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(SHARED)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(9)
    if tokenizer:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(WORDS)
        writer.add_token_types([3, *[1] * 8])
        writer.add_token_merges(MERGES)
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
    for name, tensor in network.state_dict().items():
        array = tensor.numpy().astype(np.float32)
        if name == "lm_head.weight" or (leave_out and leave_out in name):
            continue
        if name.startswith("model.layers."):
            _, _, number, rest = name.split(".", 3)
            kind = NAMES[rest.removesuffix(".weight")]
            if kind in ("attn_q", "attn_k"):
                array = interleaved(array, HEADS if kind == "attn_q" else SHARED)
            name = f"blk.{number}.{kind}.weight"
        name = {"model.embed_tokens.weight": "token_embd.weight"}.get(name, name)
        name = {"model.norm.weight": "output_norm.weight"}.get(name, name)
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return network


def test_weights_are_those_that_were_written(tmp_path, context):
    network = write(tmp_path / "tiny.gguf")
    source = open_source("tiny.gguf", tmp_path, task=None, seed=0)
    assert isinstance(source, GgufSource)
    assert (source.name, source.architecture) == ("tiny", "llama")
    model = source.load(context)
    assert [str(spec) for spec in model.inputs] == [
        "input_ids: int64[batch, sequence]",
        "attention_mask: int64[batch, sequence]",
    ]
    assert str(model.outputs[0]) == "logits: float32[batch, sequence, 9]"
    feed = model.sized({"batch": 2, "sequence": 11})
    with torch.no_grad():
        expected = network(**{k: torch.from_numpy(v) for k, v in feed.items()}).logits
    np.testing.assert_allclose(model.run(feed)["logits"], expected, atol=1e-5)
    model.save(context.work)
    assert Model.load(context.work, lambda _: source.fresh(context)).digest == model.digest


def test_text_is_read_by_the_tokenizer_in_the_file(tmp_path, context):
    write(tmp_path / "tiny.gguf")
    (tmp_path / "lines.txt").write_text("ab a\n\nc b\n")
    source = GgufSource(tmp_path / "tiny.gguf")
    folder = source.tokenizer
    assert {asset.name for asset in source.assets} >= {"tokenizer.json", "tokenizer_config.json"}
    inputs = source.load(context).inputs
    samples = open_data("lines.txt", tmp_path, inputs=lambda: inputs, tokenizer=folder)
    ids = [sample.inputs[0]["input_ids"].tolist() for sample in samples]
    assert ids == [[[4, 6]], [[3, 7]]]
    del source
    assert not folder.exists()


def test_the_digest_covers_the_file(tmp_path):
    write(tmp_path / "one.gguf")
    write(tmp_path / "two.gguf", leave_out="model.norm")
    assert GgufSource(tmp_path / "one.gguf").digest != GgufSource(tmp_path / "two.gguf").digest


def test_nothing_heavy_is_loaded_to_plan(tmp_path):
    write(tmp_path / "tiny.gguf")
    code = (
        "import sys; from pathlib import Path\n"
        "from edgepack.source.gguf import GgufSource\n"
        f"GgufSource(Path({str(tmp_path / 'tiny.gguf')!r}))\n"
        "print({'torch', 'transformers', 'gguf', 'numpy'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_without_the_package_that_reads_it_it_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "tiny.gguf")
    monkeypatch.setattr("edgepack.source.gguf.find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        GgufSource(tmp_path / "tiny.gguf")
    assert caught.value.code == "E237"
    assert "edgepack[gguf]" in caught.value.fix


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4" + b"\0" * 64, b"GGUF", b"GGUF" + struct.pack("<IQQQ", 9, 0, 0, 0) + b"\0" * 64],
    ids=["empty", "another-format", "cut-short", "another-version"],
)
def test_what_is_no_such_file_is_refused_before_anything_is_loaded(tmp_path, content):
    (tmp_path / "tiny.gguf").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        GgufSource(tmp_path / "tiny.gguf")
    assert caught.value.code == "E471"


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_file_that_was_cut_short_is_refused(tmp_path, context, share):
    path = tmp_path / "tiny.gguf"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError) as caught:
        GgufSource(path).load(context)
    assert caught.value.code == "E471"


def test_an_architecture_that_transformers_does_not_read_is_refused(tmp_path, context):
    write(tmp_path / "tiny.gguf", architecture="rwkv7")
    with pytest.raises(ModelError, match="rwkv7") as caught:
        GgufSource(tmp_path / "tiny.gguf").load(context)
    assert caught.value.code == "E472"


def test_weights_that_are_missing_are_named(tmp_path, context):
    write(tmp_path / "tiny.gguf", leave_out="layers.1.mlp.up_proj")
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj") as caught:
        GgufSource(tmp_path / "tiny.gguf").load(context)
    assert caught.value.code == "E474"


def test_a_file_without_a_tokenizer_says_so(tmp_path):
    write(tmp_path / "tiny.gguf", tokenizer=False)
    with pytest.raises(ModelError) as caught:
        _ = GgufSource(tmp_path / "tiny.gguf").tokenizer
    assert caught.value.code == "E473"


def test_another_task_is_refused(tmp_path):
    write(tmp_path / "tiny.gguf")
    with pytest.raises(ModelError, match="text-classification") as caught:
        GgufSource(tmp_path / "tiny.gguf", "text-classification")
    assert caught.value.code == "E440"
    assert "text-generation" in caught.value.fix
