"""Training in several processes, and a training that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgepack.cache import Cache

RECIPE = """
[model]
source = "torch:model.py:build"

[data]
train = "data.py:train"
evaluation = "data.py:evaluation"
metric = "accuracy"

[[steps]]
pass = "finetune"
epochs = {epochs}
batch_size = 15
learning_rate = 0.01
checkpoint_every = {every}

[[steps]]
pass = "quantize"
scheme = "float"

[gates]
max_drop = 100.0
"""
MODEL = """
import os
import torch
from torch import nn

def build():
    with open(os.environ["PROCESSES"], "a") as told:
        told.write(os.environ.get("RANK", "alone") + "\\n")
    # It drops nothing, but draws: unevenly where shares are uneven.
    noise = nn.Dropout(1e-9)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), noise, nn.Linear(32, 3))
    return net, torch.zeros(1, 8)
"""
DATA = """
import numpy as np

def rows(seed):
    x = np.random.default_rng(seed).standard_normal((96, 8)).astype(np.float32)
    return x, (x[:, :3].argmax(1)).astype(np.int64)

def train():
    return rows(0)

def evaluation():
    return rows(1)
"""


def recipe(folder, epochs=6, every=0):
    folder.mkdir(exist_ok=True)
    (folder / "edgepack.toml").write_text(RECIPE.format(epochs=epochs, every=every))
    (folder / "model.py").write_text(MODEL)
    (folder / "data.py").write_text(DATA)
    return folder


BUILD = ["-m", "edgepack", "build", "-t", "x86", "--on", "local", "--allow-unverified"]


def environment(cache, **more):
    # Beside the recipe it would be one of the files that a step is known by.
    told = {"EDGEPACK_CACHE": str(cache), "PROCESSES": str(cache.parent / "processes")}
    return {**os.environ, **told, "OMP_NUM_THREADS": "1", **more}


def weights(cache):
    """Return the weights after the last training in a cache."""
    for entry in (cache / "objects").glob("*/*/step.json"):
        if json.loads(entry.read_bytes())["step"]["pass"] == "finetune":
            return load_file(entry.parent / "weights.safetensors")
    raise AssertionError("nothing was trained")


def run(folder, cache, *before):
    done = subprocess.run(
        [sys.executable, *before, *BUILD],
        cwd=folder, env=environment(cache), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.full
def test_two_processes_train_what_one_does(tmp_path):
    folder = recipe(tmp_path / "net")
    run(folder, tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = tmp_path / "processes"
    assert set(told.read_text().split()) == {"alone"}
    told.unlink()
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
              "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
              "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]  # fmt: skip
    done = run(folder, tmp_path / "two", *launch)
    assert set(told.read_text().split()) == {"0", "1"}
    assert done.stdout.count("verdict:") == 1
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-4)


@pytest.mark.full
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    folder = recipe(tmp_path / "net", epochs=400, every=20)
    run(folder, tmp_path / "whole")
    cache = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, *BUILD], cwd=folder, env=environment(cache),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((cache / "unfinished").glob("*/last/state.json")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((cache / "unfinished").glob("*/last"))
    done = run(folder, cache)
    assert "goes on from step" in done.stderr
    whole, killed = weights(tmp_path / "whole"), weights(cache)
    assert all(np.array_equal(whole[name], killed[name]) for name in whole)
    assert not list((cache / "unfinished").iterdir())
    assert Cache(cache)
