"""The main job: the builtin model through prune and int8 to a proven artifact."""

import os
import subprocess
import sys

import pytest

import edgepack
from edgepack.api.use import verify
from edgepack.artifact import Artifact, unpack
from edgepack.cli.demo import STEPS

from .conftest import build

CPUS = ["qemu:cortex-a53", "qemu:cortex-a72", "qemu:cortex-a76", "qemu:neoverse-n1"]


@pytest.fixture(scope="module")
def built(tmp_path_factory, cache):
    os.environ["EDGEPACK_CACHE"] = str(cache)
    return build(tmp_path_factory.mktemp("digits"), "builtin:digits", "arm64", overrides=(STEPS,))


@pytest.mark.emulated
def test_it_is_small_accurate_and_proven(built):
    report, out = built
    target = report.targets[0]
    assert report.verdict == "pass"
    assert target.metric.before - target.metric.after <= 1.0
    assert target.metric.samples == 360
    assert target.metric.before > 97
    assert target.bytes * 10 <= target.float_bytes
    assert target.scheme == "w8a8-static"
    assert (out / "digits-arm64.edgepack").stat().st_size == target.bytes
    assert target.devices[0].instructions > 100_000


@pytest.mark.emulated
def test_static_int8_is_bit_exact_on_every_arm_core(built):
    report = verify(built[1] / "digits-arm64.edgepack", on=CPUS)
    devices = report.targets[0].devices
    assert [(d.on, d.exact, d.vectors) for d in devices] == [(cpu, True, 8) for cpu in CPUS]


@pytest.mark.emulated
def test_a_second_build_is_answered_from_the_cache_and_is_the_same(built, tmp_path):
    report, out = build(tmp_path, "builtin:digits", "arm64", overrides=(STEPS,))
    target = report.targets[0]
    assert all(step.cached for step in target.steps)
    assert all(device.cached for device in target.devices)
    name = "digits-arm64.edgepack"
    assert (out / name).read_bytes() == (built[1] / name).read_bytes()


@pytest.mark.emulated
def test_what_targets_share_runs_once(built, tmp_path):
    report, _ = build(
        tmp_path, "builtin:digits", "arm64", "arm64-dotprod", "x86", overrides=(STEPS,)
    )
    for target in report.targets:
        cached = {step.name for step in target.steps if step.cached}
        assert {"prune", "finetune", "export", "sanitise", "simplify"} <= cached
    assert report.verdict == "pass"


def test_an_artifact_answers_from_python(built):
    with edgepack.load(built[1] / "digits-arm64.edgepack") as loaded:
        inputs, outputs = loaded.artifact.vectors()[0]
        answer = loaded.run(inputs)
    assert {name: a.shape for name, a in answer.items()} == {n: a.shape for n, a in outputs.items()}


def test_the_packed_sample_runs_with_numpy_and_onnxruntime_alone(built, tmp_path):
    unpack(Artifact.open(built[1] / "digits-arm64.edgepack"), tmp_path / "unpacked")
    command = [sys.executable, "-P", "sample.py"]
    done = subprocess.run(command, cwd=tmp_path / "unpacked", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "agree" in done.stdout


def test_two_cold_builds_elsewhere_are_identical(tmp_path):
    """Other folders, time zones, locales and hash seeds, each with a cache of its own."""
    files = []
    for name, zone, language, seed in (
        ("a", "Pacific/Kiritimati", "C", "1"),
        ("b/deeper down", "America/New_York", "C.UTF-8", "2"),
    ):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        environment = {
            **os.environ,
            "EDGEPACK_CACHE": str(folder / "cache"),
            "TZ": zone,
            "LC_ALL": language,
            "PYTHONHASHSEED": seed,
        }
        command = [
            sys.executable,
            "-m",
            "edgepack",
            "demo",
            "--target",
            "x86-vnni",
            "--on",
            "local",
        ]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        # A host without VNNI would saturate here, and say so; the file is the same all the same.
        assert done.returncode in (0, 1), done.stderr
        files.append(folder / "dist/digits-x86-vnni.edgepack")
    assert files[0].read_bytes() == files[1].read_bytes()
