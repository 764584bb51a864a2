import tracemalloc

import numpy as np
import pytest

from edgepack.api.inputs import MadeUp
from edgepack.data import open_data
from edgepack.errors import UsageError
from edgepack.spec.recipe import DataTable
from edgepack.types import TensorSpec

FRAME = TensorSpec(name="frame", dtype="float32", shape=("batch", 2))
STATE = TensorSpec(name="h", dtype="float32", shape=(2, "batch", 3))
RATE = TensorSpec(name="sr", dtype="int64", shape=())


@pytest.fixture
def opened(tmp_path):
    def make(body, *inputs, state=None, **constants):
        (tmp_path / "data.py").write_text(
            "import numpy as np\nfrom edgepack.types import Sample\n" + body
        )
        table = DataTable.model_validate({"constants": constants})
        return open_data(
            "data.py:f", tmp_path, inputs=lambda: inputs or (FRAME, STATE),
            state={"h": "hn"} if state is None else state, table=table,
        )  # fmt: skip

    return make


FRAMES = "a, b = np.ones(2), np.zeros(2)\n"


@pytest.mark.parametrize(
    "item",
    [
        "{'runs': [{'frame': a}, {'frame': b}], 'label': [0, 1]}",
        "({'runs': [a, b]}, [0, 1])",
        "Sample(({'frame': a}, {'x': b}), [0, 1])",
        "{'runs': (run for run in (a, b)), 'labels': [0, 1]}",
    ],
)
def test_a_sample_of_many_runs_starts_from_zeros(opened, item):
    (sample,) = opened(f"{FRAMES}def f(): yield {item}")
    assert [run["frame"].tolist() for run in sample.inputs] == [[[1, 1]], [[0, 0]]]
    assert sample.inputs[0]["h"].shape == (2, 1, 3)
    assert not sample.inputs[0]["h"].any()
    assert list(sample.inputs[0]) == ["frame", "h"]
    assert (list(sample.label), sample.state) == ([0, 1], {"h": "hn"})


def test_a_sample_may_give_its_first_state(opened):
    (sample,) = opened("def f(): yield {'x': np.zeros(2), 'h': np.ones((2, 1, 3))}")
    assert sample.inputs[0]["h"].all()
    with pytest.raises(UsageError) as caught:
        list(opened("def f(): yield {'x': np.zeros(2), 'h': np.ones((2, 1, 4))}"))
    assert caught.value.code == "E278"


def test_constants_are_fed_to_every_run(opened):
    body = "def f(): yield {'runs': [np.zeros(2)] * 2}"
    (sample,) = opened(body, FRAME, RATE, state={}, sr=8000)
    assert [run["sr"].item() for run in sample.inputs] == [8000, 8000]
    assert sample.inputs[0]["sr"].dtype == np.int64
    digests = {opened(body, FRAME, RATE, state={}, sr=n).digest for n in (1, 1, 2)}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("state", "constants", "word"),
    [
        ({"hh": "hn"}, {}, "did you mean `h`"),
        ({}, {"fram": 1}, "did you mean `frame`"),
        ({"h": "hn"}, {"h": 1}, "model"),
        ({"h": "hn"}, {"sr": 1.5}, "int64"),
        ({"h": "hn"}, {"sr": 2**40}, ""),
    ],
)
def test_names_and_numbers_are_held_against_the_model(opened, state, constants, word):
    body = "def f(): yield np.zeros(2)"
    inputs = (FRAME, STATE, RATE.model_copy(update={"dtype": "int64" if word else "int8"}))
    with pytest.raises(UsageError) as caught:
        list(opened(body, *inputs, state=state, **constants))
    assert caught.value.code == "E298"
    assert word in caught.value.fix


@pytest.mark.parametrize("item", ["{'runs': []}", "{'runs': 3}", "{'runs': [1], 'rnus': 1}"])
def test_runs_that_are_none_are_refused(opened, item):
    with pytest.raises(UsageError) as caught:
        list(opened(f"def f(): yield {item}"))
    assert caught.value.code == "E297"


def test_names_of_classes_may_stand_for_each_run(opened):
    item = "{'runs': [np.ones(2)] * 2, 'label': [n, 'up']}"
    body = f"def f():\n    for n in ('up', 'down'): yield {item}"
    assert [s.label for s in opened(body)] == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    "body",
    [
        "def f(): return (np.full(20000, float(i)) for i in range(100))",
        "class f:\n"
        "    def __len__(self): return 100\n"
        "    def __iter__(self): return (np.full(20000, float(i)) for i in range(100))",
        "def f(): return map(lambda i: np.full(20000, float(i)), range(100))",
    ],
)
def test_a_stream_is_read_anew_and_never_kept(opened, body):
    wide = TensorSpec(name="x", dtype="float64", shape=(1, 20_000))
    samples = opened(body, wide, state={})
    tracemalloc.start()
    assert len(samples) == 100
    for _ in range(2):
        assert [s.inputs[0]["x"][0, 0] for s in samples] == list(range(100))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4e6  # all of them are 16 MB


def test_made_up_samples_hold_zeros_as_state():
    made = MadeUp("d", 0, lambda: (FRAME, STATE), lambda: ({},), {"h": "hn"})
    for sample in made:
        assert sample.inputs[0]["frame"].any()
        assert not sample.inputs[0]["h"].any()
        assert sample.state == {"h": "hn"}
    wrong = MadeUp("d", 0, lambda: (FRAME, STATE), lambda: ({},), {"hh": "hn"})
    with pytest.raises(UsageError, match="no input"):
        list(wrong)
