"""What a device may not do to us, beyond answering wrongly."""

import json

import numpy as np
import pytest

from edgepack.devices import DeviceFailure, Job, Outcome
from edgepack.devices.work import execute
from edgepack.errors import HostError
from edgepack.types import SessionSettings

TENSOR = {"name": "y", "dtype": "float32", "shape": [2], "bytes": 8}


class Device:
    name, real_clock, counts = "fake", True, True

    def __init__(self, outcome=None, raw=bytes(8), **fields):
        self.outcome, self.raw = outcome or Outcome(0, ""), raw
        self.result = {"runtime": "ort", "vectors": [[TENSOR]], "latency_ns": [], "memory_bytes": 1}
        self.result |= fields

    def push(self, files):
        pass

    def run(self, arguments, *, seconds, counted=False):
        return self.outcome

    def pull(self, name, to):
        to.write_bytes(json.dumps(self.result).encode() if name == "result.json" else self.raw)


@pytest.fixture
def job(tmp_path):
    (tmp_path / "m.onnx").touch()

    def make(**fields):
        return Job(tmp_path / "m.onnx", SessionSettings(), [{"x": np.zeros(2, "f4")}], **fields)

    return make


def refused(device, job):
    with pytest.raises(DeviceFailure) as failure:
        execute(device, job)
    return failure.value


def test_its_words_command_no_terminal(job):
    failure = refused(Device(Outcome(1, "\x1b]0;title\x07bad\x9b2J")), job())
    assert failure.detail == "?]0;title?bad?2J"


@pytest.mark.parametrize("runtime", ["\x1b[2J", "a\nb", "", "x" * 81])
def test_its_runtime_is_a_short_line_of_text(job, runtime):
    assert "runtime" in refused(Device(runtime=runtime), job()).detail


def test_a_key_that_it_makes_up_commands_no_terminal(job):
    assert "\x1b" not in refused(Device(**{"\x1b[2J": 1}), job()).detail


@pytest.mark.parametrize("told", [[], [1], [1, -2], [1, 2, 3], [1.5, 2], ["1", 2], [True, 1]])
def test_latencies_are_as_many_as_rounds_and_whole_nanoseconds(job, told):
    assert "nonsense" in refused(Device(latency_ns=told), job(rounds=2)).detail
    assert execute(Device(latency_ns=[1, 2]), job(rounds=2)).latency_ns == (1, 2)


def test_one_name_is_not_answered_twice(job):
    device = Device(vectors=[[TENSOR, TENSOR]], raw=bytes(16))
    assert "given twice" in refused(device, job()).detail


def test_big_endian_types_are_not_taken_for_ours(job):
    assert "dtype" in refused(Device(vectors=[[TENSOR | {"dtype": ">f4"}]]), job()).detail


@pytest.mark.parametrize("name", ["ImportError", "ModuleNotFoundError"])
def test_a_missing_runtime_is_not_the_artifacts_fault(job, name):
    with pytest.raises(HostError) as error:
        execute(Device(Outcome(1, f"Traceback\n{name}: No module named 'numpy'\n")), job())
    assert (error.value.code, error.value.where) == ("E310", "fake")


def test_counts_that_nobody_asked_for_are_not_told(job):
    answer = execute(Device(Outcome(0, "", counts=(100, 1300))), job())
    assert (answer.instructions, answer.not_counted) == (None, "")


def test_a_channel_that_cannot_count_says_so(job):
    device = Device()
    device.counts = False
    assert execute(device, job(count=True)).not_counted == "fake cannot count"
