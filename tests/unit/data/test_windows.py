import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from edgepack.data import open_data, resolve
from edgepack.spec.recipe import DataTable
from edgepack.types import TensorSpec

WORDS = {word: place for place, word in enumerate(["?", "a", "b", "c", "d", "\n"])}
INPUTS = tuple(
    TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"))
    for name in ("input_ids", "attention_mask")
)


@pytest.fixture
def folder(tmp_path):
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "text.txt").write_text("abcd\n\nabc\n")
    return tmp_path


def opened(folder, reference="text.txt", **text):
    return open_data(
        reference,
        folder,
        inputs=lambda: INPUTS,
        tokenizer=folder,
        table=DataTable.model_validate({"text": text}),
    )


def ids(samples):
    return ["".join([*WORDS][i] for i in s.inputs[0]["input_ids"][0]) for s in samples]


def test_texts_are_joined_and_cut_into_windows(folder):
    samples = opened(folder, window=3)
    assert ids(samples) == ["abc", "d\na", "bc\n"]
    assert len(samples) == 3
    assert all(s.inputs[0]["attention_mask"].shape == (1, 3) for s in samples)
    assert all(s.label is None for s in samples)


def test_the_last_window_is_shorter_and_a_token_alone_is_left_out(folder):
    assert ids(opened(folder, window=7)) == ["abcd\nab", "c\n"]
    assert ids(opened(folder, window=4)) == ["abcd", "\nabc"]


def test_the_window_is_a_part_of_the_digest(folder):
    digests = {opened(folder).digest, opened(folder, window=3).digest}
    assert len(digests | {opened(folder, window=4).digest}) == 3


def test_a_functions_texts_are_cut_too_and_its_arrays_are_not(folder):
    (folder / "data.py").write_text(
        "import numpy as np\n"
        "def texts(): return ['ab', 'cd']\n"
        "def arrays():\n"
        "    ids = np.array([[1, 2]])\n"
        "    return [{'input_ids': ids, 'attention_mask': ids > 0}] * 2\n".replace(
            "ids > 0", "np.ones_like(ids)"
        )
    )
    assert ids(opened(folder, "data.py:texts", window=3)) == ["ab\n", "cd\n"]
    assert ids(opened(folder, "data.py:arrays", window=3)) == ["ab", "ab"]


def test_windows_have_a_perplexity(folder):
    tally = resolve("perplexity", folder).start()
    for sample in opened(folder, window=3):
        shape = (1, sample.inputs[0]["input_ids"].shape[1], len(WORDS))
        answers = [{"logits": np.zeros(shape, np.float32)}]
        tally.add(sample, answers, answers)
    assert tally.value() == pytest.approx(len(WORDS))
