import json

import numpy as np
import pytest

from edgepack.data.rows import Text
from edgepack.data.tokens import Encoder, tokenizer_digest
from edgepack.errors import UsageError
from edgepack.types import TensorSpec


def test_text_becomes_the_inputs_the_model_has(tokenizer, encoder):
    coded = Encoder(tokenizer, encoder).encode(Text("a good film"))
    assert coded["input_ids"].tolist() == [[2, 7, 4, 6, 3]]
    assert coded["attention_mask"].tolist() == [[1] * 5]
    assert coded["input_ids"].dtype == np.int64
    assert list(Encoder(tokenizer, encoder[:2]).encode(Text("a"))) == [
        "input_ids",
        "attention_mask",
    ]


def test_a_second_text_is_read_jointly(tokenizer, encoder):
    coded = Encoder(tokenizer, encoder).encode(Text("good", "bad"))
    assert coded["input_ids"].tolist() == [[2, 4, 3, 5, 3]]
    assert coded["token_type_ids"].tolist() == [[0, 0, 0, 1, 1]]


def test_ids_have_the_type_of_the_model(tokenizer):
    narrow = (TensorSpec(name="input_ids", dtype="int32", shape=("b", "s")),)
    assert Encoder(tokenizer, narrow).encode(Text("a"))["input_ids"].dtype == np.int32


def length(folder, inputs):
    return Encoder(folder, inputs).encode(Text("very " * 900))["input_ids"].shape[1]


def test_how_long_a_text_may_be(tokenizer, encoder):
    config = tokenizer / "tokenizer_config.json"
    assert length(tokenizer, encoder) == 6
    config.write_text(json.dumps({"model_max_length": 10**30}))
    assert length(tokenizer, encoder) == 512
    config.unlink()
    assert length(tokenizer, encoder) == 128
    raw = json.loads((tokenizer / "tokenizer.json").read_text())
    raw["truncation"] = {
        "max_length": 20, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
    }  # fmt: skip
    raw["padding"] = {
        "strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    (tokenizer / "tokenizer.json").write_text(json.dumps(raw))
    assert length(tokenizer, encoder) == 20
    assert Encoder(tokenizer, encoder).encode(Text("a"))["input_ids"].shape == (1, 3)


def test_a_model_of_fixed_length_is_padded_and_masked(tokenizer):
    fixed = [
        TensorSpec(name=n, dtype="int64", shape=(1, 8)) for n in ("input_ids", "attention_mask")
    ]
    coded = Encoder(tokenizer, fixed).encode(Text("a"))
    assert coded["input_ids"].tolist() == [[2, 7, 3, 0, 0, 0, 0, 0]]
    assert coded["attention_mask"].sum() == 3
    assert length(tokenizer, fixed) == 8


def test_a_broken_tokenizer_is_refused(tokenizer, encoder):
    (tokenizer / "tokenizer_config.json").write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        Encoder(tokenizer, encoder)
    (tokenizer / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot be read"):
        Encoder(tokenizer, encoder)


def test_the_digest_covers_what_decides_the_ids(tokenizer):
    before = tokenizer_digest(tokenizer)
    assert tokenizer_digest(None) == {}
    (tokenizer / "config.json").write_text("{}")
    (tokenizer / "README.md").write_text("nothing")
    assert set(tokenizer_digest(tokenizer)) - set(before) == {"config.json"}
