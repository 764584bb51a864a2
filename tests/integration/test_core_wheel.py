"""The core wheel in an environment without torch builds and verifies an ONNX model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import importlib.util, pathlib, sys
assert importlib.util.find_spec("torch") is None
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
w = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "net",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    [numpy_helper.from_array(w, "w")])
opset = [helper.make_opsetid("", 13)]
onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), "net.onnx")
import edgepack
assert "site-packages" in edgepack.__file__
report = edgepack.build("net.onnx", targets=["x86"], on=["local"])
assert report.verdict == "pass", report
assert edgepack.verify("dist/net-x86.edgepack", on=["local"]).verdict == "pass"
from edgepack.spec.target import names
print(*names())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(wheel, check=True, timeout=300)
    python = folder / "env/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True, timeout=120)
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    install += ["--constraint", str(ROOT / "constraints.txt"), *map(str, folder.glob("*.whl"))]
    subprocess.run(install, check=True, timeout=600)
    return python


def test_it_builds_and_verifies_without_torch(environment, tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [environment, "-P", "-c", PROGRAM],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(path.stem for path in (ROOT / "targets").glob("*.toml"))


def test_what_needs_torch_says_so(environment, tmp_path):
    done = subprocess.run(
        [environment, "-P", "-m", "edgepack", "build", "builtin:digits"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    assert "edgepack[torch]" in done.stderr
