"""A MobileNetV2 on MNIST, half of its multiply-adds pruned and then trained on: examples/mnist.

Prints accuracy before and after, multiply-adds and parameters left, and how much faster the float
model runs in ONNX Runtime: one thread, interleaved, `process_time`. A last line says how many bars
hold; exit status 1 if one does not.
"""

import os
import platform
import sys
import tempfile
import time
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import onnxruntime as ort
from timing import faster, opened, timed
from verdict import verdict

from edgepack.api import Request, prepare
from edgepack.api.run import execute
from edgepack.report import TargetReport

RECIPE = Path(__file__).parents[1] / "examples/mnist/edgepack.toml"
ROUNDS = 300
MOST_LOST, LEAST_FASTER, MOST_WORK = 1.0, 1.5, 0.5


def built(out: Path, steps: str) -> tuple[TargetReport, ort.InferenceSession]:
    """Build the example with its own torch steps, or none, as a float model; open it."""
    request = Request(recipe=RECIPE, targets=("x86",), overrides=(steps, "gates.max_drop=100.0"))
    target = execute(prepare(request), out=out, on=("local",), force=True).targets[0]
    return target, opened(Path(target.artifact), out)


def main() -> int:
    """Build both, time both, and say whether the bars hold."""
    began = time.monotonic()
    steps = [s for s in tomllib.loads(RECIPE.read_text())["steps"] if s["pass"] != "quantize"]
    kept = ", ".join(
        "{" + ", ".join(f"{key}={value!r}" for key, value in step.items()) + "}" for step in steps
    )
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work, name) for name in ("whole", "pruned")]
        for folder in folders:
            folder.mkdir()
        _, whole = built(folders[0], 'steps=[{pass="quantize", scheme="float"}]')
        target, pruned = built(folders[1], f'steps=[{kept}, {{pass="quantize", scheme="float"}}]')
        picture = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
        sessions = {"whole": whole, "pruned": pruned}
        low, ratio = faster(timed(sessions, {"pictures": picture}, ROUNDS))["pruned"]
    first, last = (
        target.steps[0].before,
        next(s for s in target.steps if s.name == "finetune").after,
    )
    work_left = last["multiply_adds"] / first["multiply_adds"]
    lost = target.metric.before - target.metric.after
    print(f"{platform.machine()}, {os.cpu_count()} processors, seed 0, {ROUNDS} rounds")
    print(f"accuracy {target.metric.before:.2f} before, {target.metric.after:.2f} after", end=", ")
    print(f"on {target.metric.samples} pictures")
    print(f"multiply-adds {first['multiply_adds']:,} before, {last['multiply_adds']:,} after")
    print(f"parameters {first['parameters']:,} before, {last['parameters']:,} after")
    print(f"ONNX Runtime float, one thread: by median {ratio:.2f} times as fast", end=", ")
    print(f"by minimum {low:.2f}")
    bars = {
        f"at most {MOST_LOST:g} point lost: {lost:.2f}": lost <= MOST_LOST,
        f"at most {MOST_WORK:g} of the multiply-adds: {work_left:.3f}": work_left <= MOST_WORK,
        f"at least {LEAST_FASTER:g} times as fast: {ratio:.2f}": ratio >= LEAST_FASTER,
    }
    return verdict(bars, began)


if __name__ == "__main__":
    raise SystemExit(main())
