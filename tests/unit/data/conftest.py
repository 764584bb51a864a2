import json

import pytest

from edgepack.types import TensorSpec

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "very"]


@pytest.fixture
def picture():
    return (TensorSpec(name="image", dtype="float32", shape=("batch", 1, 2, 2)),)


@pytest.fixture
def encoder():
    """The inputs of a text model."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    return tuple(TensorSpec(name=n, dtype="int64", shape=("batch", "seq")) for n in names)


@pytest.fixture
def tokenizer(tmp_path_factory):
    """A folder with a whitespace tokenizer that adds [CLS] and [SEP], as BERT's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("model")
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 6, "pad_token": "[PAD]"})
    )
    return folder
