"""The command line as a shell sees it: statuses, streams, and what is left on disk."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def edgepack(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "edgepack", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def onnx_file(tmp_path):
    """A small convnet as a file of the user's."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "net.onnx"
    onnx.save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]), path
    )
    return path


def test_one_document_on_stdout_and_progress_on_stderr(tmp_path, onnx_file):
    done = edgepack(
        "build", onnx_file, "-t", "x86", "--on", "local", "--format", "json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "edgepack.report/1"
    assert report["verdict"] == "pass"
    assert report == json.loads((tmp_path / "dist/report.json").read_text())
    assert "plan: " in done.stderr
    assert "quantize" in done.stderr


def test_quiet_says_nothing_and_markdown_is_markdown(tmp_path, onnx_file):
    done = edgepack(
        "build", onnx_file, "-t", "x86", "--on", "local", "-q", "--format", "markdown", cwd=tmp_path
    )
    assert done.stderr == ""
    assert done.stdout.startswith("# net: pass\n")


def test_the_verbs_on_an_artifact(tmp_path, onnx_file):
    edgepack("build", onnx_file, "-t", "x86", "--on", "local", cwd=tmp_path)
    artifact = tmp_path / "dist/net-x86.edgepack"
    shown = edgepack("inspect", artifact, "--format", "json", cwd=tmp_path)
    assert json.loads(shown.stdout)["manifest"]["target"] == "x86"
    assert edgepack("unpack", artifact, cwd=tmp_path).stdout == "net-x86\n"
    assert (tmp_path / "net-x86/model.onnx").is_file()
    assert edgepack("unpack", artifact, cwd=tmp_path).returncode == 6
    benched = edgepack(
        "bench", artifact, "--on", "local", "--rounds", "5", "--format", "json", cwd=tmp_path
    )
    device = json.loads(benched.stdout)["targets"][0]["devices"][0]
    assert device["kind"] == "measured"
    assert device["latency_ms"]["p50"] > 0


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["build"], 2, "E209"),
        (["build", "nothing.onnx"], 2, "nothing.onnx"),
        (["build", "builtin:digits", "--target", "arm46"], 2, "did you mean `arm64`"),
        (["build", "builtin:digits", "--tarkget", "arm64"], 2, "--target"),
        (["verfy"], 2, "did you mean `verify`"),
        (["verify", "net.onnx"], 6, "error[E6"),
        (["build", "net.onnx", "-t", "x86", "--on", "qemu:cortex-a27"], 2, "did you mean"),
        (
            ["build", "net.onnx", "-t", "x86", "--set", 'gates.size="1 kB"', "--on", "local"],
            1,
            "size",
        ),
        (["build", "net.onnx", "-t", "x86", "--data", "no.npz", "--metric", "accuracy"], 2, "E270"),
        (["build", "net.onnx", "--metric", "accuracy"], 2, "E251"),
        (["build", "net.onnx", "-o", "net.onnx/dist"], 3, "E320"),
        (["build", "broken.onnx"], 4, "error[E4"),
    ],
)
def test_each_failure_has_its_status_and_no_traceback(tmp_path, onnx_file, arguments, status, word):
    (tmp_path / "broken.onnx").write_bytes(onnx_file.read_bytes()[:-40])
    done = edgepack(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert word in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_what_a_factory_prints_or_ends_stays_out_of_the_result(tmp_path):
    (tmp_path / "model.py").write_text(
        "import sys, torch\n"
        "def noisy():\n    print('hello')\n    return torch.nn.Linear(8, 4), torch.zeros(1, 8)\n"
        "def leaves():\n    sys.exit(0)\n"
    )
    options = ["-t", "x86", "--on", "local", "-q", "--format", "json"]
    noisy = edgepack("build", "torch:model.py:noisy", *options, cwd=tmp_path)
    assert json.loads(noisy.stdout)["verdict"] == "pass", noisy.stderr
    left = edgepack("build", "torch:model.py:leaves", *options, cwd=tmp_path)
    assert left.returncode == 4
    assert "E446" in left.stderr


def test_a_model_that_no_made_up_input_fits_asks_for_data(tmp_path):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.ones((3, 4), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "small",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(table, "table")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), tmp_path / "small.onnx")
    done = edgepack("build", "small.onnx", "-t", "x86", "--on", "local", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "E470" in done.stderr
    assert "--data" in done.stderr


def test_a_failed_gate_keeps_the_old_artifact(tmp_path, onnx_file):
    build = ["build", onnx_file, "-t", "x86", "--on", "local"]
    assert edgepack(*build, cwd=tmp_path).returncode == 0
    artifact = tmp_path / "dist/net-x86.edgepack"
    before = artifact.read_bytes()
    assert (
        edgepack(*build, "--set", 'gates.size="1 kB"', "--set", "seed=1", cwd=tmp_path).returncode
        == 1
    )
    assert artifact.read_bytes() == before
    forced = edgepack(
        *build, "--set", 'gates.size="1 kB"', "--set", "seed=1", "--force", cwd=tmp_path
    )
    assert forced.returncode == 1
    assert artifact.read_bytes() != before


def test_what_cannot_be_reached_is_unverified_and_says_how_to_mend_it(tmp_path, onnx_file):
    cold = {"EDGEPACK_CACHE": str(tmp_path / "empty")}
    build = ["build", onnx_file, "-t", "arm64", "--offline"]
    done = edgepack(*build, cwd=tmp_path, **cold)
    assert done.returncode == 3
    assert "edgepack doctor --fix arm64" in done.stdout
    assert edgepack(*build, "--allow-unverified", cwd=tmp_path, **cold).returncode == 0


def test_ctrl_c_leaves_nothing_half_written_and_the_next_build_goes_on(tmp_path):
    command = [sys.executable, "-m", "edgepack", "demo", "-t", "x86", "--on", "local"]
    environment = {**os.environ, "EDGEPACK_CACHE": str(tmp_path / "cache")}
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A test run in the background hands down an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    for line in running.stderr:
        if line.startswith("load done") or time.monotonic() > deadline:
            break
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert list((tmp_path / "dist").iterdir()) == []
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "train digits" not in again.stderr
