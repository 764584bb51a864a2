"""A small network for `x86-openvino`, proven through ONNX Runtime's OpenVINO provider."""

import platform

import numpy as np
import pytest

from edgepack.api import Request, prepare
from edgepack.api.run import execute
from edgepack.artifact import Artifact

MODEL = """
import torch

def build():
    torch.manual_seed(0)
    def layer(i, o, s=1):
        return [torch.nn.Conv2d(i, o, 3, s, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU()]
    net = torch.nn.Sequential(
        *layer(3, 16, 2), *layer(16, 64), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(64, 10),
    )
    return net.eval(), {"input": torch.rand(1, 3, 32, 32)}
"""
DATA = """
import numpy as np

def calibration():
    draw = np.random.default_rng(0)
    for _ in range(16):
        yield draw.random((3, 32, 32), np.float32)
"""
RECIPE = """
name = "small"
[model]
source = "torch:model.py:build"
[data]
calibration = "data.py:calibration"
[[steps]]
pass = "quantize"
scheme = "w8a8-static"
"""


@pytest.mark.full  # it sets the runtime up: about 110 MB
@pytest.mark.skipif(platform.machine() != "x86_64", reason="OpenVINO's wheel is for x86-64")
def test_a_network_is_built_and_proven_through_openvino(tmp_path):
    for name, text in (("model.py", MODEL), ("data.py", DATA), ("edgepack.toml", RECIPE)):
        (tmp_path / name).write_text(text)
    request = Request(recipe=tmp_path / "edgepack.toml", targets=("x86-openvino",))
    report = execute(prepare(request), out=tmp_path / "out", force=True)
    [target] = report.targets
    assert (report.verdict, target.scheme) == ("pass", "w8a8-static")
    [device] = target.devices
    assert (device.on, device.runtime) == ("local", "onnxruntime 1.24.1")
    manifest = Artifact.open(target.artifact).manifest
    assert manifest.runtime.package == "onnxruntime-openvino"
    assert manifest.session.providers == ("OpenVINOExecutionProvider",)
    assert not manifest.tolerance.exact
    assert np.isfinite(device.cosine)
