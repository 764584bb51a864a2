"""The sample session that travels in an artifact: it needs numpy and onnxruntime alone."""

SAMPLE = '''"""Run golden vector 0 of this folder's model and say whether the answer is right.

Unpack the artifact and run `python sample.py` inside. Needs numpy and onnxruntime.
"""

import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
LEVELS = {"disabled": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED",
          "layout": "ENABLE_LAYOUT", "all": "ENABLE_ALL"}


def open_session(settings):
    """Open the model as its manifest asks for."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    level = "ORT_" + LEVELS[settings["optimization"]]
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    for key, value in settings["entries"].items():
        options.add_session_config_entry(key, value)
    model = str(HERE / "model.onnx")
    providers = [with_options(name, settings["threads"]) for name in settings["providers"]]
    session = ort.InferenceSession(model, options, providers=providers)
    if session.get_providers()[0] != settings["providers"][0]:
        sys.exit(f"provider {settings['providers'][0]} did not load")
    return session


def with_options(provider, threads):
    """Return a provider as a session takes it; OpenVINO has its own number of threads."""
    if provider != "OpenVINOExecutionProvider":
        return provider
    chosen = json.dumps({"CPU": {"INFERENCE_NUM_THREADS": str(threads)}})
    return provider, {"device_type": "CPU", "load_config": chosen}


def load(side, tensors):
    """Read one side of golden vector 0: raw little-endian files in C order."""
    arrays = {}
    for index, tensor in enumerate(tensors):
        dtype = np.dtype(tensor["dtype"])
        file = HERE / "golden" / "0" / f"{side}.{index}.bin"
        raw = np.fromfile(file, dtype.newbyteorder("<"))
        arrays[tensor["name"]] = raw.reshape(tensor["shape"]).astype(dtype)
    return arrays


def likeness(want, got):
    """The cosine of a float output, or the share of equal values of another."""
    if want.dtype.kind != "f":
        return float(np.mean(want == got)) if want.size else 1.0
    left, right = want.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    if np.allclose(left, right, rtol=0, atol=1e-6):
        return 1.0
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else float(not left.any() and not right.any())


def difference(want, got):
    """The largest difference, relative to the largest magnitude that is wanted, or to 0.001."""
    if want.dtype != got.dtype or want.shape != got.shape:
        return math.inf
    if want.size == 0 or np.array_equal(want, got, equal_nan=want.dtype.kind == "f"):
        return 0.0
    want, got = want.astype(np.float64), got.astype(np.float64)
    scale = max(float(np.abs(want).max()), 1e-3)
    apart = float(np.abs(want - got).max())
    return apart / scale if math.isfinite(apart) else math.inf


def main():
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    vector, tolerance = manifest["golden"]["vectors"][0], manifest["tolerance"]
    expected = load("output", vector["outputs"])
    names = list(expected)
    answers = open_session(manifest["session"]).run(names, load("input", vector["inputs"]))
    pairs = [(expected[name], np.asarray(answer)) for name, answer in zip(names, answers)]
    exact = all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)
    worst = max(difference(a, b) for a, b in pairs)
    near = min(likeness(a, b) for a, b in pairs) if worst < math.inf else 0.0
    within = worst <= tolerance["relative"] and near >= tolerance["cosine"]
    agrees = exact or (within and not tolerance["exact"])
    print(f"{manifest['name']}: {'agrees' if agrees else 'DOES NOT AGREE'} with golden vector 0 "
          f"(exact: {exact}, relative difference {worst:.3g}, cosine {near:.6f})")
    for name, source in manifest.get("state", {}).items():
        print(f"the next run takes {source} of this one as {name}")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
'''
