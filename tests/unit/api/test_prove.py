"""A proof is kept, and what this command proved itself is not called cached."""

from types import SimpleNamespace

import pytest

import edgepack.api.prove as module
from edgepack.api.prove import Prover
from edgepack.base import Silent
from edgepack.cache import Cache
from edgepack.report import Device


@pytest.fixture
def runs(monkeypatch):
    """Channels that exist, and a list of what ran on them."""
    seen = []
    channel = SimpleNamespace(
        info=lambda: SimpleNamespace(digest="d"), counts=True, real_clock=False, close=lambda: None
    )

    def prove(artifact, channel, **options):
        seen.append(options["vectors"])
        return Device(on="qemu:cortex-a72", kind="counted", verdict=artifact.verdict)

    monkeypatch.setattr(module, "prove", prove)
    monkeypatch.setattr(module, "open_channel", lambda *_, **__: channel)
    return seen


def artifact(verdict="pass"):
    runtime = SimpleNamespace(maximum="1.31.1", package="onnxruntime")
    return SimpleNamespace(
        digest=f"a-{verdict}", verdict=verdict, manifest=SimpleNamespace(runtime=runtime, scheme="")
    )


def test_what_was_proven_by_this_command_is_not_called_cached(runs, tmp_path):
    cache = Cache(tmp_path)
    one, other = (Prover(cache, Silent(), offline=True) for _ in range(2))
    first, again = (one.prove(artifact(), "qemu:cortex-a72") for _ in range(2))
    assert (first.cached, again.cached) == (False, False)
    assert other.prove(artifact(), "qemu:cortex-a72").cached
    assert runs == [None]


def test_a_failure_is_tried_again(runs, tmp_path):
    prover = Prover(Cache(tmp_path), Silent(), offline=True)
    for _ in range(2):
        assert prover.prove(artifact("fail"), "qemu:cortex-a72").verdict == "fail"
    assert runs == [None, None]
