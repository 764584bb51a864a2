"""examples/news-classifier against the float model that it began as.

The artifact for arm64 is proven on an emulated Cortex-A72, with executed instructions counted, and
the same file is timed here beside the float model: ONNX Runtime, one thread, in turn. Prints how
many bars hold; exit status 1 if one does not.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from timing import faster, opened, timed
from verdict import verdict

from edgepack.api import Request, prepare
from edgepack.api.run import execute
from edgepack.report import TargetReport

RECIPE = Path(__file__).parents[1] / "examples/news-classifier/edgepack.toml"
ROUNDS = 60
SMALLER, FASTER, LOST = 6.0, 5.0, 1.0


def built(out: Path, *overrides: str, on: str) -> TargetReport:
    """Build for arm64 into a folder of its own."""
    request = Request(recipe=RECIPE, targets=("arm64",), overrides=overrides)
    return execute(prepare(request), out=out, on=(on,), force=True).targets[0]


def main() -> int:
    """Build both, time both, and say whether the bars hold."""
    began = time.monotonic()
    print(f"{platform.machine()}, {os.cpu_count()} processors, seed 0, {ROUNDS} rounds")
    plain = 'steps=[{pass="quantize", scheme="float"}]'
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work, name) for name in ("whole", "small")]
        small = built(folders[1], on="qemu:cortex-a72")
        whole = built(folders[0], plain, on="local")
        sessions = {
            name: opened(Path(report.artifact), folder)
            for name, report, folder in zip(
                ("whole", "small"), (whole, small), folders, strict=True
            )
        }
        ids = np.random.default_rng(0).integers(1000, 20000, (1, 128))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        inputs["token_type_ids"] = np.zeros_like(ids)
        low, ratio = faster(timed(sessions, inputs, ROUNDS))["small"]
    effects = [step.effect for step in small.steps if step.effect]
    first, last = effects[0].before.instructions, effects[-1].after.instructions
    metric, smaller = small.metric, whole.model_bytes / small.model_bytes
    print(f"{whole.model_bytes / 1e6:.1f} MB before, {small.model_bytes / 1e6:.1f} MB after")
    print(f"accuracy {metric.before:.2f} before, {metric.after:.2f} after", end=", ")
    print(f"on {metric.samples} held-out articles")
    print(f"{first / 1e6:,.0f} M instructions before, {last / 1e6:,.0f} M after")
    print(f"by median {ratio:.2f} times as fast here, by minimum {low:.2f}")
    bars = {
        "passes on an emulated Cortex-A72": small.verdict == "pass",
        f"at least {SMALLER:g} times smaller: {smaller:.1f}": smaller >= SMALLER,
        f"at least {FASTER:g} times as fast: {ratio:.2f}": ratio >= FASTER,
        f"at least {FASTER:g} times fewer instructions: {first / last:.2f}": first >= FASTER * last,
        f"at most {LOST:g} point lost: {metric.drop:.2f}": metric.drop <= LOST,
    }
    return verdict(bars, began)


if __name__ == "__main__":
    raise SystemExit(main())
