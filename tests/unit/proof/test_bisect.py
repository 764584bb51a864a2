"""A device that computes one layer wrongly, and the search for it."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgepack.base import Silent
from edgepack.devices import Answer, DeviceFailure
from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.proof import bisect
from edgepack.types import SessionSettings, Tolerance

DEEP = 12


def chain() -> onnx.ModelProto:
    """Twelve products in a row, with a skip from the second to the last."""
    lines = [f"[n{i}] t{i} = MatMul (t{i - 1}, w{i})" for i in range(1, DEEP)]
    body = "\n".join(lines).replace("t0", "x")
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,6] x) => (float[N,6] y) {{ {body} [end] y = Add (t{DEEP - 1}, t2) }}""")
    rng = np.random.default_rng(0)
    for i in range(1, DEEP):
        matrix, _ = np.linalg.qr(rng.normal(size=(6, 6)))
        model.graph.initializer.append(numpy_helper.from_array(matrix.astype(np.float32), f"w{i}"))
    return model


class FakeArtifact:
    def __init__(self, proto):
        self.proto = proto
        settings = SessionSettings()
        tolerance = Tolerance(exact=False, relative=1e-3, cosine=0.999)
        golden = SimpleNamespace(session=settings)
        self.manifest = SimpleNamespace(session=settings, golden=golden, tolerance=tolerance)

    def extract_model(self, folder):
        (folder / "model.onnx").write_bytes(self.proto.SerializeToString())
        return folder / "model.onnx"

    def vectors(self):
        rng = np.random.default_rng(1)
        feeds = [{"x": rng.normal(size=(1, 6)).astype(np.float32)} for _ in range(2)]
        with ChildRunner().open(Graph.from_proto(self.proto)) as session:
            return [(feed, session.run(feed)) for feed in feeds]


@pytest.fixture
def device(monkeypatch):
    """Multiply one layer's weight by -1 wherever it occurs in what the device is given."""

    def wrong(layer: str | None):
        jobs = []

        def execute(channel, job):
            jobs.append(job)
            proto = onnx.load(job.model)
            for tensor in proto.graph.initializer:
                if tensor.name == layer:
                    flipped = -numpy_helper.to_array(tensor)
                    tensor.CopyFrom(numpy_helper.from_array(flipped, layer))
            with ChildRunner().open(Graph.from_proto(proto)) as session:
                return Answer("ort", [session.run(feed) for feed in job.vectors])

        monkeypatch.setattr(bisect, "execute", execute)
        return jobs

    return wrong


CHANNEL = SimpleNamespace(name="device")


@pytest.mark.parametrize("layer", [1, 2, 7, 11])
def test_the_wrong_layer_is_found_in_few_runs(device, layer):
    jobs = device(f"w{layer}")
    found = bisect.first_on_device(FakeArtifact(chain()), CHANNEL, ChildRunner(), Silent())
    assert (found.node, found.operator, found.agreeing) == (f"n{layer}", "MatMul", layer - 1)
    assert (found.compared, found.cut_short) == (DEEP, "")
    assert found.relative > 1
    assert len(jobs) <= 5
    assert len(jobs[0].vectors) == 2
    assert {len(job.vectors) for job in jobs[1:]} == {1}


def test_a_right_device_needs_no_explanation(device):
    jobs = device(None)
    artifact = FakeArtifact(chain())
    assert bisect.explain_device(artifact, CHANNEL, ChildRunner(), Silent()) == ""
    assert len(jobs) == 1


def test_too_few_runs_are_told(device):
    jobs = device("w7")
    artifact = FakeArtifact(chain())
    found = bisect.first_on_device(artifact, CHANNEL, ChildRunner(), Silent(), runs=3)
    assert found.cut_short == "3 runs on device"
    assert len(jobs) == 3


def test_an_explanation_that_fails_is_none(monkeypatch):
    def broken(channel, job):
        raise DeviceFailure("crash", "SIGILL")

    monkeypatch.setattr(bisect, "execute", broken)
    assert bisect.explain_device(FakeArtifact(chain()), CHANNEL, ChildRunner(), Silent()) == ""
