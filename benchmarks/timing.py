"""Sessions as a device opens them, timed in turn so that a machine that slows down slows all."""

import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgepack.artifact import Artifact
from edgepack.devices.agent import open_session

WARM_UP = 3


def opened(path: Path, folder: Path) -> ort.InferenceSession:
    """Open an artifact's model with the settings that it ships with."""
    artifact = Artifact.open(path)
    model = folder / f"{path.stem}.onnx"
    artifact.extract("model.onnx", model)
    return open_session(str(model), artifact.manifest.session.model_dump(mode="json"))


def timed(
    sessions: dict[str, ort.InferenceSession], inputs: dict[str, np.ndarray], rounds: int
) -> dict[str, list[float]]:
    """Return the processor's seconds of each run, by session; every round runs each once."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(rounds + WARM_UP):
        for name, session in sessions.items():
            began = time.process_time()
            session.run(None, inputs)
            if turn >= WARM_UP:
                times[name].append(time.process_time() - began)
    return times


def faster(times: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Return how many times as fast each is as the first, by minimum and by median."""
    first = next(iter(times.values()))
    return {
        name: (min(first) / min(one), statistics.median(first) / statistics.median(one))
        for name, one in times.items()
    }
