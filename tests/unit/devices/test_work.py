import json
from pathlib import Path

import numpy as np
import pytest

from edgepack.devices import DeviceFailure, DeviceInfo, Job, Outcome, work
from edgepack.types import EXACT_INT8, SessionSettings

ONE = np.array([[1.5, -2.0]], np.float32)
RIGHT = {
    "runtime": "onnxruntime 9.9",
    "vectors": [[{"name": "y", "dtype": "float32", "shape": [1, 2], "bytes": 8}]],
    "latency_ns": [],
    "memory_bytes": 4096,
}


class Fake:
    """A channel to a device that answers whatever it is made to."""

    name = "fake"
    counts = True

    def __init__(self, result=None, outputs=None, outcome=None, real_clock=True):
        raw = json.dumps(RIGHT | result) if isinstance(result, dict) else result
        self.files = {
            "result.json": json.dumps(RIGHT) if raw is None else raw,
            "outputs.bin": ONE.tobytes() if outputs is None else outputs,
        }
        self.outcome = outcome or Outcome(0, "")
        self.real_clock = real_clock
        self.ran = []
        self.pushed = {}

    def info(self):
        return DeviceInfo("fake", "aarch64", (), "onnxruntime 9.9", "", "0" * 64)

    def push(self, files):
        self.places = [path.parent for path in files.values()]
        self.pushed = {name: path.read_bytes() for name, path in files.items()}

    def run(self, arguments, *, seconds, counted=False):
        self.ran.append((list(arguments), seconds, counted))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def pull(self, name, to):
        content = self.files.get(name)
        if content is None:
            raise DeviceFailure("error", f"it left no {name}")
        to.write_bytes(content.encode() if isinstance(content, str) else content)

    def close(self):
        pass


@pytest.fixture
def job(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"a model")

    def make(*vectors, **fields):
        fields = {"session": SessionSettings(), **fields}
        return Job(model=model, vectors=vectors or ({"x": ONE},), **fields)

    return make


def refused(channel, job) -> DeviceFailure:
    with pytest.raises(DeviceFailure) as caught:
        work.execute(channel, job)
    return caught.value


def described(**changes):
    return {"vectors": [[RIGHT["vectors"][0][0] | changes]]}


def test_a_right_answer_comes_back_whole(job):
    answer = work.execute(Fake({"latency_ns": [3, 1, 2]}), job(rounds=3))
    assert [list(outputs) for outputs in answer.outputs] == [["y"]]
    assert answer.outputs[0]["y"].dtype == np.float32
    np.testing.assert_array_equal(answer.outputs[0]["y"], ONE)
    assert (answer.runtime, answer.memory_bytes) == ("onnxruntime 9.9", 4096)
    assert answer.latency_ns == (3, 1, 2)
    assert (answer.instructions, answer.not_counted) == (None, "")


def test_tensors_are_cut_in_the_order_in_which_they_are_told(job):
    pair = [
        {"name": "b", "dtype": "int8", "shape": [3], "bytes": 3},
        {"name": "a", "dtype": "uint16", "shape": [], "bytes": 2},
    ]
    none = [{"name": "b", "dtype": "int64", "shape": [0, 4], "bytes": 0}]
    channel = Fake({"vectors": [pair, none]}, bytes([1, 2, 255, 1, 2]))
    first, second = work.execute(channel, job({"x": ONE}, {"x": ONE})).outputs
    assert first["b"].tolist() == [1, 2, -1]
    assert first["a"] == np.uint16(513)
    assert second["b"].shape == (0, 4)


def test_the_device_is_sent_the_job_the_agent_and_the_model(job):
    channel = Fake({"vectors": RIGHT["vectors"] * 2, "latency_ns": [1] * 7}, ONE.tobytes() * 2)
    later = {"x": np.zeros((2, 0), np.float32), "k": np.int64(7)}
    settings = SessionSettings(threads=2, optimization="basic", entries=EXACT_INT8)
    work.execute(
        channel, job({"x": ONE.T}, later, session=settings, count=True, rounds=7, seconds=9)
    )
    assert channel.ran == [(["job"], 9, True)]
    assert sorted(channel.pushed) == ["agent.py", "inputs.bin", "job.json", "model.onnx"]
    assert channel.pushed["model.onnx"] == b"a model"
    assert channel.pushed["agent.py"] == work.AGENT.read_bytes()
    assert channel.pushed["inputs.bin"] == ONE.tobytes() + np.int64(7).tobytes()
    assert json.loads(channel.pushed["job.json"]) == {
        "model": "model.onnx",
        "session": settings.model_dump(mode="json"),
        "vectors": [
            [{"name": "x", "dtype": "float32", "shape": [2, 1], "bytes": 8}],
            [
                {"name": "x", "dtype": "float32", "shape": [2, 0], "bytes": 0},
                {"name": "k", "dtype": "int64", "shape": [], "bytes": 8},
            ],
        ],
        "count": True,
        "rounds": 7,
    }


def test_inputs_travel_dense_and_little_endian(job):
    channel = Fake()
    work.execute(channel, job({"x": np.arange(6, dtype=">i4").reshape(2, 3).T}))
    sent = np.frombuffer(channel.pushed["inputs.bin"], "<i4")
    assert sent.tolist() == [0, 3, 1, 4, 2, 5]


def test_a_clock_that_is_not_real_times_nothing(job):
    channel = Fake(real_clock=False)
    work.execute(channel, job(rounds=5))
    assert json.loads(channel.pushed["job.json"])["rounds"] == 0


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (-4, "illegal-instruction"),
        (132, "illegal-instruction"),
        (-11, "crash"),
        (139, "crash"),
        (-6, "crash"),
        (134, "crash"),
        (-7, "crash"),
        (-8, "crash"),
        (137, "crash"),
        (-15, "error"),
        (1, "error"),
        (4, "error"),
        (11, "error"),
        (127, "error"),
    ],
)
def test_a_status_has_its_reason(job, status, reason):
    assert refused(Fake(outcome=Outcome(status, "")), job()).reason == reason


@pytest.mark.parametrize(
    ("status", "stderr", "detail"),
    [
        (1, "Traceback\n one\n two\nValueError: three\n\n", " one\n two\nValueError: three"),
        (3, "", "exit status 3"),
        (-11, " \n", "signal 11"),
        (139, "qemu: uncaught target signal 11\n", "qemu: uncaught target signal 11"),
    ],
)
def test_a_failure_quotes_the_last_words(job, status, stderr, detail):
    assert refused(Fake(outcome=Outcome(status, stderr)), job()).detail == detail


def test_a_failed_agent_is_believed_before_the_files_that_it_left(job):
    assert refused(Fake(outcome=Outcome(-11, "", (10, 20))), job(count=True)).reason == "crash"


@pytest.mark.parametrize("name", ["result.json", "outputs.bin"])
def test_a_missing_file_is_named(job, name):
    channel = Fake()
    channel.files[name] = None
    failure = refused(channel, job())
    assert (failure.reason, failure.detail) == ("error", f"it left no {name}")


@pytest.mark.parametrize(
    ("name", "limit"), [("result.json", "MOST_RESULT"), ("outputs.bin", "MOST_OUTPUT")]
)
def test_a_file_beyond_its_limit_is_not_read(job, monkeypatch, name, limit):
    size = len(Fake().files[name])
    monkeypatch.setattr(work, limit, size)
    work.execute(Fake(), job())
    monkeypatch.setattr(work, limit, size - 1)
    assert refused(Fake(), job()).detail == f"the device's {name} is too large"


@pytest.mark.parametrize(
    "result",
    [
        "",
        "Traceback (most recent call last):",
        b"\xff\xfe",
        "null",
        "3",
        "[]",
        '"text"',
        "{}",
        "[" * 100_000,
        {"vectors": None},
        {"vectors": {}},
        {"vectors": [None]},
        {"vectors": ["text"]},
        {"vectors": [[{}]]},
        {"vectors": []},
        {"memory_bytes": None},
        {"memory_bytes": "much"},
        {"memory_bytes": float("inf")},
        {"memory_bytes": float("nan")},
        {"latency_ns": 5},
        {"latency_ns": [None]},
        {"latency_ns": [float("inf")]},
    ],
    ids=lambda result: repr(result)[:40],
)
def test_a_result_that_is_nonsense_is_a_finding(job, result):
    failure = refused(Fake(result), job())
    assert failure.reason == "error"
    assert failure.detail.startswith("its answer is nonsense: ")


def test_every_vector_must_be_answered_and_no_other(job):
    two = job({"x": ONE}, {"x": ONE})
    assert "1 answers to 2 vectors" in refused(Fake(), two).detail
    three = Fake({"vectors": RIGHT["vectors"] * 3}, ONE.tobytes() * 3)
    assert "3 answers to 2 vectors" in refused(three, two).detail


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": 4},
        {"bytes": 16},
        {"bytes": "8"},
        {"shape": [2, 2]},
        {"shape": [1]},
        {"shape": [-1, -2]},
        {"shape": [-2, -1]},
        {"shape": [1, -1], "bytes": -4},
        {"shape": [2**62], "bytes": 2**64},
        {"shape": [0, 2**80], "bytes": 0},
        {"shape": [float("inf")]},
        {"shape": None},
        {"shape": "12"},
        {"dtype": "object"},
        {"dtype": "O", "shape": [1]},
        {"dtype": "S8", "shape": [1]},
        {"dtype": "U1"},
        {"dtype": "V8", "shape": [1]},
        {"dtype": "complex64", "shape": [1]},
        {"dtype": "datetime64[s]", "shape": [1]},
        {"dtype": "f4,f4", "shape": [1]},
        {"dtype": "(1 2)f4"},
        {"dtype": "float31"},
        {"dtype": None, "shape": [1]},
        {"dtype": 4},
        {"name": []},
    ],
    ids=str,
)
def test_a_misdescribed_tensor_is_a_finding(job, changes):
    failure = refused(Fake(described(**changes)), job())
    assert failure.reason == "error"
    assert failure.detail.startswith("its answer is nonsense: ")


@pytest.mark.parametrize("raw", [b"", ONE.tobytes()[:-1], ONE.tobytes() + b"\0"])
def test_outputs_are_neither_longer_nor_shorter_than_told(job, raw):
    failure = refused(Fake(outputs=raw), job())
    assert failure.reason == "error"
    assert failure.detail.startswith("its answer is nonsense: ")


def test_the_count_is_the_least_run_less_the_empty_pair(job):
    channel = Fake(outcome=Outcome(0, "", (100, 1700, 1600, 1650)))
    answer = work.execute(channel, job(count=True))
    assert (answer.instructions, answer.not_counted) == (1500, "")


def test_the_reason_for_no_count_is_passed_on(job):
    channel = Fake(outcome=Outcome(0, "", not_counted="no compiler"))
    answer = work.execute(channel, job(count=True))
    assert (answer.instructions, answer.not_counted) == (None, "no compiler")


def test_an_empty_pair_alone_is_no_count(job):
    answer = work.execute(Fake(outcome=Outcome(0, "", (100,))), job(count=True))
    assert (answer.instructions, answer.not_counted) == (None, "the agent ended amid its marks")


@pytest.mark.parametrize("outcome", [None, DeviceFailure("deadline", "no end after 1 s")])
def test_nothing_stays_on_this_machine(job, tmp_path, monkeypatch, outcome):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    channel = Fake(outcome=outcome)
    if outcome:
        assert refused(channel, job()) is outcome
    else:
        work.execute(channel, job())
    assert any(place in folder.parents for folder in channel.places)
    assert list(place.iterdir()) == []
    assert Path(work.AGENT).is_file()
