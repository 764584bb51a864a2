import json
import subprocess
import sys

import numpy as np
import pytest

from edgepack.data import generate, open_data
from edgepack.errors import UsageError


@pytest.fixture
def opened(tmp_path, picture):
    def make(reference, content=None, **arguments):
        if isinstance(content, str):
            (tmp_path / reference.partition(":")[0]).write_text(content)
        return open_data(reference, tmp_path, **{"inputs": lambda: picture, **arguments})

    return make


def never():
    raise AssertionError("the model's inputs were asked for too early")


def test_arrays_become_samples(tmp_path, opened):
    np.savez(tmp_path / "x.npz", image=np.arange(12.0).reshape(3, 1, 2, 2), label=[0, 1, 1])
    samples = opened("x.npz")
    assert len(samples) == 3
    assert [s.label for s in samples] == [0, 1, 1]
    last = list(samples)[-1].inputs[0]["image"]
    assert (last.shape, last.dtype, last.max()) == ((1, 1, 2, 2), np.float32, 11)
    assert not samples.generated


def test_text_is_tokenised_and_classes_are_numbered(opened, tokenizer, encoder):
    content = "text,label\na good film,pos\nbad,neg\n"
    samples = opened("x.csv", content, inputs=lambda: encoder, tokenizer=tokenizer)
    before = samples.digest
    assert [s.label for s in samples] == [1, 0]
    assert next(iter(samples)).inputs[0]["input_ids"].tolist() == [[2, 7, 4, 6, 3]]
    (tokenizer / "config.json").write_text(json.dumps({"label2id": {"pos": 0, "neg": 1}}))
    again = opened("x.csv", content, inputs=lambda: encoder, tokenizer=tokenizer)
    assert [s.label for s in again] == [0, 1]
    assert again.digest != before


def test_texts_apart_are_two_runs(opened, tokenizer, encoder):
    content = '{"texts": ["good", "very bad"], "score": 0.5}'
    (sample,) = opened("x.jsonl", content, inputs=lambda: encoder, tokenizer=tokenizer)
    assert [run["input_ids"].shape[1] for run in sample.inputs] == [3, 4]
    assert sample.label == 0.5


def test_a_text_file_is_a_text_a_line(opened, tokenizer, encoder):
    content = "good\n\n  very bad \n"
    samples = opened("x.txt", content, inputs=lambda: encoder, tokenizer=tokenizer)
    assert [s.inputs[0]["input_ids"].tolist() for s in samples] == [[[2, 4, 3]], [[2, 8, 5, 3]]]
    assert [s.label for s in samples] == [None, None]
    assert len(samples) == 2


def test_one_array_is_a_sample_an_item(tmp_path, opened):
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(3, 1, 2, 2))
    samples = opened("x.npy")
    assert len(samples) == 3
    assert [s.inputs[0]["image"].max() for s in samples] == [3, 7, 11]


def test_a_folder_of_arrays_is_a_sample_a_file(tmp_path, opened):
    for place, name in enumerate(("yes/a", "no/a", "no/b")):
        (tmp_path / "arrays" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "arrays" / name, np.full((1, 2, 2), place, np.float32))
    samples = opened("arrays")
    assert [(s.inputs[0]["image"].max(), s.label) for s in samples] == [(1, 0), (2, 0), (0, 1)]
    before = samples.digest
    np.save(tmp_path / "arrays" / "no" / "b", np.zeros((1, 2, 2), np.float32))
    assert opened("arrays").digest != before


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"text"])
def test_a_damaged_array_is_named(tmp_path, opened, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        list(opened("x.npy"))
    assert caught.value.code == "E296"


def test_an_array_of_objects_and_one_that_promises_too_much_are_refused(tmp_path, opened):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "y.npy", np.zeros(1000))
    whole = (tmp_path / "y.npy").read_bytes()
    (tmp_path / "y.npy").write_bytes(whole[:-8])
    for name in ("x.npy", "y.npy"):
        with pytest.raises(UsageError) as caught:
            len(opened(name))
        assert caught.value.code == "E296"


def test_functions_may_give_text(opened, tokenizer, encoder):
    body = "def f():\n    yield {'text': 'good', 'label': 'pos'}\n    yield 'bad', 'neg'"
    samples = opened("data.py:f", body, inputs=lambda: encoder, tokenizer=tokenizer)
    assert [s.label for s in samples] == [1, 0]
    with pytest.raises(UsageError) as caught:
        list(opened("data.py:f", inputs=lambda: encoder))
    assert caught.value.code == "E284"


def test_opening_is_light_and_the_digest_runs_nothing(tmp_path, opened):
    samples = opened("data.py:f", "raise SystemExit\ndef f(): ...", inputs=never)
    before = samples.digest
    (tmp_path / "data.py").write_text("raise SystemExit(1)\ndef f(): ...")
    assert opened("data.py:f", inputs=never).digest != before


def test_the_digest_follows_the_file(opened, tokenizer):
    rows = [opened("x.jsonl", f'{{"text": "{w}"}}', tokenizer=tokenizer).digest for w in "aab"]
    assert rows[0] == rows[1] != rows[2]


def test_planning_loads_nothing_heavy(tmp_path):
    (tmp_path / "data.py").write_text("import torch\ndef f(): ...")
    (tmp_path / "m.py").write_text("def metric(outputs, labels): ...")
    probe = (
        "import sys\nfrom pathlib import Path\nfrom edgepack.data import open_data, resolve\n"
        f"p = Path({str(tmp_path)!r})\n"
        "open_data('data.py:f', p, inputs=None).digest; resolve('m.py:metric', p).digest\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("reference", "code", "hint"),
    [
        ("lost.npz", "E270", "beside"),
        ("dta.py:f", "E270", "did you mean `data.py`"),
        ("picture", "E270", "did you mean `pictures`"),
        ("x.parquet", "E271", ".npz"),
        ("Makefile", "E271", ".npz"),
        ("data.py", "E271", "data.py:evaluation"),
        ("data.py:f()", "E271", "data.py:evaluation"),
        ("data.py:g", "E273", "known: f"),
        ("x.csv", "E284", "tokenizer.json"),
    ],
)
def test_wrong_references_are_refused_at_once(tmp_path, opened, reference, code, hint):
    (tmp_path / "data.py").write_text("def f(): ...")
    (tmp_path / "x.csv").write_text("text\na\n")
    (tmp_path / "Makefile").touch()
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UsageError) as caught:
        opened(reference, inputs=never)
    assert caught.value.code == code
    assert hint in caught.value.fix


def test_a_wrong_sample_is_named_by_its_index(opened):
    body = "import numpy as np\ndef f(): return [np.zeros((1, 2, 2)), np.full((1, 2, 2), np.nan)]"
    with pytest.raises(UsageError) as caught:
        list(opened("data.py:f", body))
    assert (caught.value.code, caught.value.where) == ("E279", "data.py:f, sample 1")


@pytest.mark.parametrize("body", ["def f(): return []", "def f(): yield from ()"])
def test_empty_data_is_refused(opened, body):
    for read in (len, list):
        with pytest.raises(UsageError) as caught:
            read(opened("data.py:f", body))
        assert caught.value.code == "E280"


def test_a_text_file_without_rows_is_empty(opened, tokenizer, encoder):
    with pytest.raises(UsageError, match="empty"):
        len(opened("x.csv", "text\n", inputs=lambda: encoder, tokenizer=tokenizer))


def test_made_up_samples_fit_and_repeat(picture):
    made = generate(picture, seed=3, count=2)
    first, second = (s.inputs[0]["image"] for s in made)
    assert made.generated
    assert (len(made), first.shape, first.dtype) == (2, (1, 1, 2, 2), np.float32)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, next(iter(generate(picture, 3, 9))).inputs[0]["image"])


def test_the_digest_of_made_up_samples_follows_all_that_decides_them(picture, encoder):
    made = [
        generate(picture, 3, 2), generate(picture, 4, 2), generate(picture, 3, 3),
        generate(encoder, 3, 2), generate(encoder, 3, 2, {"seq": 5}),
    ]  # fmt: skip
    assert len({m.digest for m in made}) == 5
    assert generate(picture, 3, 2).digest == made[0].digest
    assert next(iter(made[-1])).inputs[0]["input_ids"].shape == (1, 5)


@pytest.mark.parametrize("body", ["yield x", "yield x, 1"])
def test_a_function_that_is_not_seeded_is_refused_at_the_second_reading(opened, body):
    start = (
        "import numpy as np\ndef f():\n    x = np.random.default_rng({}).random((1, 2, 2))\n    "
    )
    seeded = opened("data.py:f", start.format(0) + body)
    assert len([*seeded, *seeded]) == 2
    samples = opened("data.py:f", start.format("") + body)
    assert len(list(samples)) == 1
    with pytest.raises(UsageError) as caught:
        list(samples)
    assert caught.value.code == "E269"
    assert "seed the generator" in caught.value.fix


def test_a_table_without_texts_is_refused_by_its_columns(opened, tokenizer, encoder):
    samples = opened("x.csv", "txt,label\na,1\n", inputs=lambda: encoder, tokenizer=tokenizer)
    with pytest.raises(UsageError) as caught:
        list(samples)
    assert (caught.value.code, caught.value.where) == ("E283", "x.csv, sample 0")
    assert caught.value.why == "found txt, label"


def test_classes_that_the_model_does_not_number_are_known_after_reading(opened, tokenizer, encoder):
    content = "text,label\na,pos\nb,neg\n"
    samples = opened("x.csv", content, inputs=lambda: encoder, tokenizer=tokenizer)
    list(samples)
    assert samples.numbered == {"neg": 0, "pos": 1}
    (tokenizer / "config.json").write_text(json.dumps({"label2id": {"pos": 0, "neg": 1}}))
    again = opened("x.csv", content, inputs=lambda: encoder, tokenizer=tokenizer)
    list(again)
    assert again.numbered == {}
