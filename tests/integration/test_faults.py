"""Builds that are killed, interrupted, or find a damaged cache: the next one mends it."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

RECIPE = """\
[model]
source = "net.onnx"
[[steps]]
pass = "quantize"
scheme = "float"
"""


def conv_net(path: Path) -> None:
    """Write a convolution, a pooling and a matrix product: about 1 kB."""
    rng = np.random.default_rng(0)
    weights = {"w": (8, 3, 3, 3), "v": (8, 4)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


class Site:
    """A folder with a recipe, a cache and a temporary folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache, self.temp = folder, folder / "cache", folder / "temp"
        self.temp.mkdir()
        conv_net(folder / "net.onnx")
        (folder / "edgepack.toml").write_text(RECIPE)

    def start(self, *more: str) -> subprocess.Popen:
        """Start a build; what it says lands in ``said``."""
        environment = {
            **os.environ,
            "EDGEPACK_CACHE": str(self.cache),
            "TMPDIR": str(self.temp),
        }
        command = [sys.executable, "-m", "edgepack", "build", "-t", "x86", "--on", "local"]
        with (self.folder / "said").open("wb") as said:
            return subprocess.Popen(
                [*command, *more],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def build(self, *more: str) -> str:
        """Build, and return the digest of the artifact."""
        assert self.start(*more).wait(timeout=300) == 0, self.said()
        return hashlib.sha256(self.artifact.read_bytes()).hexdigest()

    @property
    def artifact(self) -> Path:
        return self.folder / "dist/net-x86.edgepack"

    def leftovers(self) -> list[Path]:
        """What a finished build must not leave: parts, and temporary folders."""
        parts = [p for p in self.folder.rglob("*") if p.suffix in {".part", ".old"}]
        return parts + list(self.temp.glob("edgepack-work-*"))

    def until(self, word: str, running: subprocess.Popen) -> None:
        """Wait until a build says a word."""
        end = time.monotonic() + 120
        while word not in self.said():
            assert running.poll() is None, self.said()
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.full)])
def test_killed_at_any_moment_the_next_build_gives_the_same_artifact(site, kills):
    site.build()
    shutil.rmtree(site.cache)
    began = time.monotonic()
    digest = site.build()
    lasts = time.monotonic() - began
    moments = random.Random(kills)
    for index in range(kills):
        if index % 2:  # a cold cache, and an output that is not there yet
            shutil.rmtree(site.cache)
            shutil.rmtree(site.folder / "dist")
        running = site.start(*(() if index % 2 else ("--fresh",)))
        time.sleep(moments.uniform(0.1, 1.0) * lasts)
        running.send_signal(signal.SIGKILL)
        running.wait(timeout=60)
        if site.artifact.exists():
            assert hashlib.sha256(site.artifact.read_bytes()).hexdigest() == digest
        else:
            assert index % 2
        assert site.build() == digest
        assert "damaged" not in site.said()
        assert site.leftovers() == []


@pytest.mark.parametrize("word", ["load ...", "pack ...", "verify local ..."])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_build_cleanly(site, number, status, word):
    running = site.start()
    site.until(word, running)
    running.send_signal(number)
    assert running.wait(timeout=60) == status, site.said()
    assert "interrupted" in site.said()
    assert "Traceback" not in site.said()
    assert site.leftovers() == []
    site.build()


def entries(site: Site) -> dict[str, Path]:
    """One entry of each kind, by a file that only this kind has."""
    found = {}
    for name in (
        "weights.safetensors",
        "model.onnx",
        "artifact.edgepack",
        "device.json",
        "fact.json",
    ):
        for path in sorted(site.cache.glob(f"objects/*/*/{name}")):
            found.setdefault(name, path)
    return found


TORCH = """
name = "net"
[model]
source = "builtin:digits"
[[steps]]
pass = "prune"
ratio = 0.5
[[steps]]
pass = "quantize"
scheme = "float"
[gates]
max_drop = 100.0
"""


@pytest.mark.parametrize(
    ("recipe", "files"),
    [
        (None, {"model.onnx", "artifact.edgepack", "device.json", "fact.json"}),
        pytest.param(TORCH, {"weights.safetensors", "fact.json"}, marks=pytest.mark.full),
    ],
    ids=["onnx", "torch"],
)
def test_every_kind_of_damaged_entry_is_named_and_made_again(site, recipe, files):
    if recipe:
        (site.folder / "edgepack.toml").write_text(recipe)
    digest = site.build()
    kinds = entries(site)
    assert files <= kinds.keys()
    moments = random.Random(0)
    for name, path in kinds.items():
        data = bytearray(path.read_bytes())
        data[moments.randrange(len(data))] ^= 1 << moments.randrange(8)
        path.write_bytes(data)
        site.artifact.unlink()
        assert site.build() == digest
        assert f"({name} changed)" in site.said()
        assert path.read_bytes() != bytes(data)
        assert site.build() == digest
        assert "damaged" not in site.said()


def test_two_builds_at_once_into_one_folder_and_one_cache_both_pass(site):
    running = [site.start() for _ in range(2)]
    assert [one.wait(timeout=300) for one in running] == [0, 0]
    once = hashlib.sha256(site.artifact.read_bytes()).hexdigest()
    assert site.build("--fresh") == once
    assert site.leftovers() == []


def test_a_cache_that_is_no_folder_is_named_before_the_work(site):
    site.cache.write_text("")
    assert site.start().wait(timeout=60) == 3
    assert "error[E322]" in site.said()
    assert "load ..." not in site.said()
