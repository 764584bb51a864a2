import json
from pathlib import Path

import numpy as np
import pytest

from edgepack.devices import Job, Outcome
from edgepack.types import SessionSettings


class FakeChannel:
    """A device that answers whatever it is told to."""

    name = "fake"
    real_clock = True
    counts = True

    def __init__(self, result=b"", raw=b"", outcome=None):
        self.result, self.raw = result, raw
        self.outcome = outcome or Outcome(0, "")
        self.pushed: dict[str, bytes] = {}

    def push(self, files):
        self.pushed = {name: Path(path).read_bytes() for name, path in files.items()}

    def run(self, arguments, *, seconds, counted=False):
        self.asked = (tuple(arguments), seconds, counted)
        return self.outcome

    def pull(self, name, to):
        to.write_bytes(self.result if name == "result.json" else self.raw)


TENSOR = {"name": "y", "dtype": "float32", "shape": [2], "bytes": 8}
RESULT = {
    "runtime": "onnxruntime 1.31.1",
    "vectors": [[TENSOR]],
    "latency_ns": [],
    "memory_bytes": 1,
}


@pytest.fixture
def device():
    def make(tensor=None, raw=np.float32([3, 4]).tobytes(), outcome=None, **fields):
        result = RESULT | {"vectors": [[TENSOR | (tensor or {})]]} | fields
        return FakeChannel(json.dumps(result).encode(), raw, outcome)

    return make


@pytest.fixture
def job(tmp_path):
    def make(**fields):
        model = tmp_path / "any.onnx"
        model.write_bytes(b"model")
        vectors = fields.pop("vectors", [{"x": np.float32([1, 2])}])
        return Job(model, SessionSettings(), vectors, **fields)

    return make
