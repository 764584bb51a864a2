from types import SimpleNamespace

import numpy as np
import pytest

from edgepack.devices import Answer, DeviceFailure, DeviceInfo
from edgepack.errors import HostError
from edgepack.proof import device as module
from edgepack.proof.device import prove
from edgepack.types import SessionSettings, Tolerance

EXACT = Tolerance(exact=True)
LOOSE = Tolerance(exact=False, relative=0.01, cosine=0.9999)
GOLDEN = [np.array([[1.0, 2.0, -4.0]], np.float32), np.array([[0.5, 0.5, 1.0]], np.float32)]


class FakeArtifact:
    def __init__(self, tolerance=EXACT, arch="aarch64", features=(), vectors=GOLDEN):
        self._vectors = vectors
        self.manifest = SimpleNamespace(
            isa=SimpleNamespace(arch=arch, features=features),
            session=SessionSettings(threads=1),
            tolerance=tolerance,
        )

    def vectors(self):
        return [({"x": v * 2}, {"y": v}) for v in self._vectors]

    def extract_model(self, folder):
        (folder / "model.onnx").write_text("model.onnx")
        return folder / "model.onnx"


class FakeChannel:
    def __init__(self, *, real=False, counts=True, features=("asimd",), trouble=None):
        self.name = "qemu:cortex-a72"
        self.real_clock, self.counts = real, counts
        self._features, self._trouble = features, trouble

    def info(self):
        if self._trouble:
            raise self._trouble
        return DeviceInfo("cortex-a72", "aarch64", self._features, "ort 1", "qemu 7", "0" * 64)


@pytest.fixture
def answer(monkeypatch):
    """Let the device answer so; returns the jobs it was given."""

    def set_to(outputs=GOLDEN, **fields):
        jobs = []

        def execute(channel, job):
            if isinstance(outputs, Exception):
                raise outputs
            assert job.model.read_text() == "model.onnx"
            jobs.append(job)
            return Answer("onnxruntime 1.31.1", [{"y": y} for y in outputs], **fields)

        monkeypatch.setattr(module, "execute", execute)
        return jobs

    return set_to


def changed(by):
    return [GOLDEN[0], GOLDEN[1] + np.float32(by)]


def test_equal_bytes_pass_and_the_figures_are_told(answer):
    jobs = answer(instructions=4000)
    proof = prove(FakeArtifact(), FakeChannel(), count=True, rounds=9)
    assert (proof.verdict, proof.why, proof.exact) == ("pass", "", True)
    assert (proof.vectors, proof.difference, proof.cosine) == (2, 0, pytest.approx(1))
    assert (proof.on, proof.cpu) == ("qemu:cortex-a72", "cortex-a72")
    assert (proof.runtime, proof.kind) == ("onnxruntime 1.31.1", "counted")
    assert proof.instructions == 4000
    (job,) = jobs
    assert (job.count, job.rounds) == (True, 0)
    assert [v["x"].tolist() for v in job.vectors] == [(g * 2).tolist() for g in GOLDEN]


@pytest.mark.parametrize(
    ("tolerance", "by", "verdict", "word"),
    [
        (EXACT, 0, "pass", ""),
        (EXACT, 1e-6, "fail", "1 of 2 golden vectors are not equal"),
        (LOOSE, 1e-6, "pass", ""),
        (LOOSE, 0.02, "fail", "relative difference"),
        (LOOSE, np.nan, "fail", "not finite"),
        (Tolerance(exact=False, relative=1.0, cosine=0.9999), -0.3, "fail", "mean cosine"),
        (Tolerance(exact=False, relative=0.0, cosine=1.0), 0, "pass", ""),
    ],
)
def test_the_tolerance_decides(answer, tolerance, by, verdict, word):
    answer(changed(by))
    proof = prove(FakeArtifact(tolerance), FakeChannel())
    assert proof.verdict == verdict
    assert word in proof.why
    assert bool(proof.why) == (verdict == "fail")


def test_the_worst_vector_is_reported(answer):
    answer(changed(-0.3))
    proof = prove(FakeArtifact(LOOSE), FakeChannel())
    assert proof.difference == pytest.approx(0.3)
    assert proof.cosine_worst < proof.cosine < 1


def test_a_lost_output_and_a_wrong_shape_fail(answer, monkeypatch):
    answer([GOLDEN[0], GOLDEN[1][:, :2]])
    proof = prove(FakeArtifact(LOOSE), FakeChannel())
    assert (proof.verdict, proof.difference) == ("fail", None)
    monkeypatch.setattr(module, "execute", lambda channel, job: Answer("ort", [{}, {}]))
    assert prove(FakeArtifact(), FakeChannel()).why == "it gave no output `y`"


@pytest.mark.parametrize(
    ("reason", "words"),
    [("illegal-instruction", "illegal instruction: SIGILL"),
     ("crash", "the runtime crashed: SIGILL"),
     ("deadline", "no answer in time: SIGILL"), ("error", "the runtime refused it: SIGILL")],
)  # fmt: skip
def test_what_breaks_on_the_device_fails(answer, reason, words):
    answer(DeviceFailure(reason, "SIGILL"))
    proof = prove(FakeArtifact(), FakeChannel())
    assert (proof.verdict, proof.why, proof.exact) == ("fail", words, None)


def test_what_this_machine_lacks_leaves_it_unverified(answer):
    missing = HostError("E301", "qemu is missing", why="not on PATH", fix="install qemu-user")
    told = "qemu is missing: not on PATH; fix: install qemu-user"
    proof = prove(FakeArtifact(), FakeChannel(trouble=missing))
    assert (proof.verdict, proof.why) == ("unverified", told)
    answer(missing)
    assert prove(FakeArtifact(), FakeChannel()).why == told


@pytest.mark.parametrize(
    ("isa", "word"),
    [
        ({"arch": "x86_64"}, "made for x86_64"),
        ({"features": ("asimd", "asimddp")}, "lacks asimddp"),
    ],
)
def test_a_device_that_cannot_speak_for_it_is_not_asked(answer, isa, word):
    jobs = answer()
    proof = prove(FakeArtifact(**isa), FakeChannel())
    assert (proof.verdict, jobs) == ("unverified", [])
    assert word in proof.why
    assert "--on" in proof.why


def test_a_device_that_the_user_names_is_held_to_what_it_does(answer):
    answer()
    lacking = FakeArtifact(features=("asimd", "asimddp"))
    assert prove(lacking, FakeChannel(), any_features=True).verdict == "pass"


def test_features_within_the_devices_pass(answer):
    answer()
    assert prove(FakeArtifact(features=("asimd",)), FakeChannel()).verdict == "pass"


def test_without_golden_vectors_nothing_is_proven(answer):
    jobs = answer()
    proof = prove(FakeArtifact(vectors=[]), FakeChannel())
    assert (proof.verdict, jobs) == ("unverified", [])


def test_latency_comes_from_a_real_clock_alone(answer):
    figures = {"latency_ns": tuple(range(0, 101_000_000, 1_000_000)), "memory_bytes": 5}
    jobs = answer(**figures)
    real = prove(FakeArtifact(), FakeChannel(real=True, counts=False), count=True, rounds=9)
    assert real.latency_ms == {"p50": 50, "p90": 90, "p99": 99}
    assert (real.kind, real.memory_bytes, jobs[0].rounds, jobs[0].count) == (
        "measured",
        5,
        9,
        False,
    )
    assert real.not_counted == "qemu:cortex-a72 counts no instructions"
    emulated = prove(FakeArtifact(), FakeChannel(), rounds=9)
    assert (emulated.latency_ms, emulated.memory_bytes, emulated.not_counted) == ({}, None, "")
