"""Tiny transformers of several classes as models, samples as a list, and events that are kept."""

import numpy as np
import torch
import transformers as t
from torch import nn

from edgepack.base import Silent
from edgepack.model import Model
from edgepack.types import TensorSpec

SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}


class Rows(list):
    digest = "rows"
    generated = False


class Noted(Silent):
    def __init__(self):
        self.notes, self.decisions = [], []

    def note(self, text):
        self.notes.append(text)

    def decision(self, value):
        self.decisions.append(value)


def wrapped(module, *shape):
    example = {"x": np.zeros((1, *shape), np.float32)}
    return Model.of(
        module, (TensorSpec(name="x", dtype="float32", shape=("batch", *shape)),), example
    )


class Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask):
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits


class Pictures(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model(image).logits


def bert(seed=0):
    torch.manual_seed(seed)
    config = t.BertConfig(
        vocab_size=50, intermediate_size=64, max_position_embeddings=16, num_labels=3,
        attn_implementation="eager", is_decoder=False, **SIZES,
    )  # fmt: skip

    class Plain(Logits):
        def forward(self, ids, mask):
            return self.model(input_ids=ids, attention_mask=mask).logits

    return text(Plain(t.BertForSequenceClassification(config)))


def llama(seed=0):
    torch.manual_seed(seed)
    config = t.LlamaConfig(
        vocab_size=50, intermediate_size=64, max_position_embeddings=16, num_key_value_heads=2,
        attn_implementation="eager", **SIZES,
    )  # fmt: skip
    return text(Logits(t.LlamaForCausalLM(config)))


def gpt2(seed=0):
    torch.manual_seed(seed)
    config = t.GPT2Config(
        vocab_size=50, n_embd=32, n_layer=4, n_head=4, n_positions=16, attn_implementation="eager"
    )
    return text(Logits(t.GPT2LMHeadModel(config)))


def vit(seed=0):
    torch.manual_seed(seed)
    config = t.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, intermediate_size=64, num_labels=10,
        attn_implementation="eager", **SIZES,
    )  # fmt: skip
    spec = TensorSpec(name="image", dtype="float32", shape=("batch", 1, 8, 8))
    rng = np.random.default_rng(0)
    example = {"image": rng.standard_normal((1, 1, 8, 8)).astype(np.float32)}
    return Model.of(Pictures(t.ViTForImageClassification(config)), (spec,), example, ("logits",))


def text(module):
    specs = tuple(
        TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"))
        for name in ("input_ids", "attention_mask")
    )
    example = {
        "input_ids": np.array([[1, 2, 3, 4, 5, 6]]),
        "attention_mask": np.ones((1, 6), np.int64),
    }
    return Model.of(module, specs, example, ("logits",))


class Hidden(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask):
        return self.model(input_ids=ids, attention_mask=mask)[0]


def other(name, seed=0, **more):
    """A model of another class, whose norms and biases are as if it were trained."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 50, "intermediate_size": 64, "max_position_embeddings": 16, **SIZES}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if name == "DistilBert":
        sizes = {"vocab_size": 50, "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64}
    if name == "ModernBert":
        special |= {"cls_token_id": 1, "sep_token_id": 2}
    if name == "Qwen2":
        sizes["num_key_value_heads"] = 2
    config = getattr(t, f"{name}Config")(
        attn_implementation="eager", **{**sizes, **special, **more}
    )
    return lived(text(Hidden(getattr(t, f"{name}Model")(config))))


def lived(model, seed=1):
    """Shift all parameters a little, so that no norm is as new."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws))
    return model


MAKERS = {"bert": bert, "llama": llama, "gpt2": gpt2, "vit": vit}
