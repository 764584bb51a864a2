import numpy as np
import pytest

from edgepack.errors import ModelError
from edgepack.graph import batches
from edgepack.graph.batches import TOGETHER, Batches
from edgepack.types import Sample


class Counting:
    """A session whose answer is twice its input; remembers how many rows it was fed at once."""

    def __init__(self, answer=lambda x: x * 2):
        self.fed = []
        self._answer = answer

    def run(self, inputs, outputs=None):
        self.fed.append(len(inputs["x"]))
        return {"y": self._answer(inputs["x"])}


def samples(*lengths):
    return [Sample(({"x": np.full((1, n), i, np.float32)},), i) for i, n in enumerate(lengths)]


def answered(batches, given):
    found = list(batches.answered(given))
    assert [sample.label for sample, _ in found] == [sample.label for sample in given]
    for sample, runs in found:
        assert [fed for fed, _ in runs] == list(sample.inputs)
    return [answer["y"] for _, runs in found for _, answer in runs]


def test_equal_shapes_go_together_and_answers_keep_their_order():
    session = Counting()
    given = samples(3, 5, 3, 3, 5, 7)
    found = answered(Batches(session, TOGETHER), given)
    for sample, y in zip(given, found, strict=True):
        assert np.array_equal(y, sample.inputs[0]["x"] * 2)
    assert session.fed == [1, 2, 1, 2, 1]  # the first tells its size; one proves the batch, once


def test_no_more_than_so_many_go_together():
    session = Counting()
    answered(Batches(session, 4, proven=True), samples(*[2] * 10))
    assert session.fed == [1, 4, 4, 1]


@pytest.mark.parametrize(
    "answer",
    [lambda x: x - x.mean(), lambda x: x.mean(axis=0), lambda x: np.repeat(x, 2, axis=0)],
    ids=["depends-on-company", "one-for-all", "two-for-one"],
)
def test_a_graph_that_minds_company_is_run_alone(answer):
    session = Counting(answer)
    given = samples(2, 2, 2)
    found = answered(Batches(session, TOGETHER), given)
    for sample, y in zip(given, found, strict=True):
        assert np.array_equal(y, answer(sample.inputs[0]["x"]))
    assert session.fed[-2:] == [1, 1]


def test_a_state_goes_from_run_to_run():
    class Adding:
        def run(self, inputs, outputs=None):
            return {"h2": inputs["h"] + inputs["x"]}

    run = {"x": np.ones((1, 1)), "h": np.zeros((1, 1))}
    given = [Sample((run, run, run), 0, {"h": "h2"})]
    ((_, runs),) = Batches(Adding(), TOGETHER).answered(given)
    assert [answer["h2"].item() for _, answer in runs] == [1, 2, 3]


def test_samples_of_several_runs_stay_whole():
    pair = [Sample(tuple({"x": np.full((1, n), i)} for n in (2, 3)), i) for i in range(5)]
    found = list(Batches(Counting(), TOGETHER).answered(pair))
    assert [[a["y"].shape for _, a in runs] for _, runs in found] == [[(1, 2), (1, 3)]] * 5


def test_a_graph_that_refuses_a_batch_is_run_alone():
    def alone(x):
        if len(x) > 1:
            raise ModelError("E424", "no", fix="none")
        return x

    assert len(answered(Batches(Counting(alone), TOGETHER), samples(2, 2, 2, 2))) == 4


def test_large_answers_are_not_held(monkeypatch):
    monkeypatch.setattr(batches, "MEMORY", 100)
    session = Counting()
    answered(Batches(session, TOGETHER, proven=True), samples(*[5] * 7))  # 40 bytes a sample
    assert session.fed == [1, 2, 2, 2]
