import json
import pickle

import numpy as np
import pytest
import torch
import transformers

from edgepack.base import Context, Silent
from edgepack.compress.prune import Prune
from edgepack.errors import ModelError
from edgepack.model import Model
from edgepack.source.transformers import TransformersSource

CONFIG = transformers.BertConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=64,
)


@pytest.fixture
def context(tmp_path_factory):
    return Context(tmp_path_factory.mktemp("work"), 0, {}, None, Silent())


def saved(folder, kind=transformers.BertModel, config=CONFIG):
    torch.manual_seed(0)
    network = kind(config).eval()
    network.save_pretrained(folder)
    return network


def edit(path, **settings):
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_a_plain_encoder_gives_its_last_hidden_state(tmp_path, context):
    network = saved(tmp_path)
    source = TransformersSource(tmp_path)
    model = source.load(context)
    assert source.task is None  # told from the class that was saved
    assert [spec.name for spec in model.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert str(model.outputs[0]) == "last_hidden_state: float32[batch, sequence, 16]"
    feed = model.sized({"batch": 2, "sequence": 11})
    with torch.no_grad():
        expected = network(**{k: torch.from_numpy(v) for k, v in feed.items()}).last_hidden_state
    np.testing.assert_allclose(model.run(feed)["last_hidden_state"], expected, atol=1e-5)


def test_a_classifier_gives_logits(tmp_path, context):
    saved(tmp_path, transformers.BertForSequenceClassification)
    model = TransformersSource(tmp_path).load(context)
    assert str(model.outputs[0]) == "logits: float32[batch, 2]"


def test_a_picture_classifier_takes_pictures(tmp_path, context):
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        num_labels=4,
    )
    saved(tmp_path, transformers.ViTForImageClassification, config)
    model = TransformersSource(tmp_path).load(context)
    assert str(model.inputs[0]) == "pixel_values: float32[batch, 3, 16, 16]"
    assert str(model.outputs[0]) == "logits: float32[batch, 4]"


def stages(folder, *, mode, normalised):
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalised else 2]
    paths = ["", "1_Pooling", "2_Normalize"]
    listed = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for kind, path in zip(kinds, paths, strict=False)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    flags = {f"pooling_mode_{m}": m == mode for m in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))


@pytest.mark.parametrize("normalised", [True, False])
def test_sentence_embeddings_leave_padding_out(tmp_path, context, normalised):
    network = saved(tmp_path)
    stages(tmp_path, mode="mean_tokens", normalised=normalised)
    model = TransformersSource(tmp_path).load(context)
    assert str(model.outputs[0]) == "sentence_embedding: float32[batch, 16]"
    tokens = np.array([[2, 7, 9, 3]])
    padded = np.array([[2, 7, 9, 3, 0, 0]])
    got = [
        model.run(
            {
                "input_ids": ids,
                "attention_mask": (ids > 0).astype(np.int64),
                "token_type_ids": np.zeros_like(ids),
            }
        )["sentence_embedding"]
        for ids in (tokens, padded)
    ]
    with torch.no_grad():
        mean = network(torch.from_numpy(tokens)).last_hidden_state.mean(1)
    expected = torch.nn.functional.normalize(mean) if normalised else mean
    np.testing.assert_allclose(got[0], expected, atol=1e-5)
    np.testing.assert_allclose(got[1], expected, atol=1e-5)


def test_the_first_token_may_stand_for_all(tmp_path, context):
    network = saved(tmp_path)
    stages(tmp_path, mode="cls_token", normalised=False)
    model = TransformersSource(tmp_path).load(context)
    with torch.no_grad():
        tensors = [torch.from_numpy(model.example[s.name]) for s in model.inputs]
        expected = network(*tensors).last_hidden_state[:, 0]
    got = model.run(model.example)["sentence_embedding"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_other_poolings_are_refused(tmp_path):
    saved(tmp_path)
    stages(tmp_path, mode="max_tokens", normalised=False)
    with pytest.raises(ModelError, match="sentence-transformers") as caught:
        TransformersSource(tmp_path)
    assert "max_tokens" in caught.value.why


def test_only_the_neurons_between_layers_are_pruned(tmp_path, context):
    saved(tmp_path)
    source = TransformersSource(tmp_path)
    model = source.load(context)
    pruned = Prune(ratio=0.5).apply(model, context)
    assert [edit.module for edit in pruned.edits] == [
        f"model.encoder.layer.{i}.intermediate.dense" for i in range(2)
    ]
    assert pruned.outputs == model.outputs
    pruned.save(context.work)
    assert Model.load(context.work, lambda _: source.fresh(context)).digest == pruned.digest


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused(tmp_path, name):
    saved(tmp_path)
    if not (tmp_path / name).exists():
        (tmp_path / name).write_text("{}")
    edit(tmp_path / name, auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(ModelError) as caught:
        TransformersSource(tmp_path)
    assert caught.value.code == "E439"
    assert caught.value.where == name


@pytest.mark.parametrize("names", [["BertForMaskedLM"], ["NoSuchClass"], []])
def test_a_task_that_is_not_supported_or_cannot_be_told_is_refused(tmp_path, context, names):
    saved(tmp_path)
    edit(tmp_path / "config.json", architectures=names)
    with pytest.raises(ModelError) as caught:
        TransformersSource(tmp_path).load(context)
    assert caught.value.code == "E440"
    assert "task" in caught.value.fix


def test_an_already_quantised_checkpoint_is_refused_unloaded(tmp_path):
    saved(tmp_path)
    edit(tmp_path / "config.json", quantization_config={"bits": 4})
    with pytest.raises(ModelError) as caught:
        TransformersSource(tmp_path)
    assert caught.value.code == "E438"


def test_a_head_without_weights_is_refused(tmp_path, context):
    saved(tmp_path)
    with pytest.raises(ModelError, match="classifier") as caught:
        TransformersSource(tmp_path, "text-classification").load(context)
    assert caught.value.code == "E441"


def pickled(folder, held):
    (folder / "model.safetensors").unlink()
    torch.save(held, folder / "pytorch_model.bin")


def test_a_pickled_checkpoint_is_converted_apart(tmp_path, context):
    network = saved(tmp_path)
    expected = TransformersSource(tmp_path).load(context).digest
    pickled(tmp_path, network.state_dict())
    assert TransformersSource(tmp_path).load(context).digest == expected
    assert not list(tmp_path.glob("*.safetensors"))


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("raw", [True, False])
def test_a_malicious_checkpoint_runs_nothing(tmp_path, context, raw):
    saved(tmp_path)
    evil = {"a": Touch(tmp_path / "owned")}
    pickled(tmp_path, {})
    if raw:
        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safely") as caught:
        TransformersSource(tmp_path).load(context)
    assert caught.value.code == "E441"
    assert not (tmp_path / "owned").exists()


def test_no_weights_at_all_is_an_error(tmp_path, context):
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        TransformersSource(tmp_path).load(context)


def test_damaged_weights_are_an_error(tmp_path, context):
    saved(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError) as caught:
        TransformersSource(tmp_path).load(context)
    assert caught.value.code == "E442"


def test_what_takes_neither_text_nor_pictures_is_refused(tmp_path, context):
    config = transformers.T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    saved(tmp_path, transformers.T5Model, config)
    with pytest.raises(ModelError, match="neither plain text nor pictures"):
        TransformersSource(tmp_path).load(context)


def test_a_tokenizer_travels(tmp_path):
    saved(tmp_path)
    assert TransformersSource(tmp_path).tokenizer is None
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tmp_path / name).write_text("{}")
    source = TransformersSource(tmp_path)
    assert source.tokenizer == tmp_path
    assert [a.name for a in source.assets] == [
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
    ]
