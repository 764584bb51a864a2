"""Asks a channel for work: the one place that speaks to the agent in job mode."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.devices import Answer, Channel, DeviceFailure, Job, Outcome

AGENT = Path(__file__).parent / "agent.py"
MOST_RESULT, MOST_OUTPUT = 1 << 24, 1 << 31
"""Bytes that a device's result.json and outputs.bin may have; a device is not trusted."""
_SIGNALS = {4: "illegal-instruction", 6: "crash", 7: "crash", 8: "crash", 9: "crash", 11: "crash"}


def execute(channel: Channel, job: Job) -> Answer:
    """Run a job on a channel.

    Raises:
        DeviceFailure: when the agent crashes, misses its deadline, or answers nonsense.
        HostError: when the device cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="edgepack-job-") as work:
        folder = Path(work)
        _write(job, folder)
        files = {name: folder / name for name in ("job.json", "inputs.bin")}
        channel.push({"agent.py": AGENT, "model.onnx": job.model, **files})
        outcome = channel.run(["job"], seconds=job.seconds, counted=job.count)
        if outcome.status != 0:
            raise _broken(outcome)
        for name, most in (("result.json", MOST_RESULT), ("outputs.bin", MOST_OUTPUT)):
            channel.pull(name, folder / name)
            if (folder / name).stat().st_size > most:
                raise DeviceFailure("error", f"the device's {name} is too large")
        return _answer(job, outcome, folder)


def _write(job: Job, folder: Path) -> None:
    with (folder / "inputs.bin").open("wb") as stream:
        vectors = []
        for inputs in job.vectors:
            arrays = {name: np.asarray(array, order="C") for name, array in inputs.items()}
            vectors.append([_describe(name, array) for name, array in arrays.items()])
            for array in arrays.values():
                stream.write(array.tobytes())
    task = {
        "model": "model.onnx",
        "session": job.session.model_dump(mode="json"),
        "vectors": vectors,
        "count": job.count,
        "rounds": job.rounds,
    }
    (folder / "job.json").write_text(json.dumps(task))


def _describe(name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    shape, size = list(array.shape), array.nbytes
    return {"name": name, "dtype": array.dtype.name, "shape": shape, "bytes": size}


def _answer(job: Job, outcome: Outcome, folder: Path) -> Answer:
    try:
        told = json.loads((folder / "result.json").read_bytes())
        outputs = _outputs(told["vectors"], (folder / "outputs.bin").read_bytes())
        if len(outputs) != len(job.vectors):
            raise ValueError(f"{len(outputs)} answers to {len(job.vectors)} vectors")
        runtime, memory = str(told["runtime"])[:80], int(told["memory_bytes"])
        latency = tuple(int(value) for value in told["latency_ns"])
    except (KeyError, TypeError, ValueError) as problem:
        raise DeviceFailure("error", f"its answer is nonsense: {problem}") from problem
    counts, why = outcome.counts, outcome.not_counted
    if job.count and counts and len(counts) < 2:
        counts, why = (), "the agent ended amid its marks"
    return Answer(
        runtime=runtime,
        outputs=outputs,
        instructions=min(counts[1:]) - counts[0] if counts else None,
        not_counted=why,
        latency_ns=latency,
        memory_bytes=memory,
    )


def _outputs(vectors: Sequence[Sequence[Mapping[str, Any]]], raw: bytes) -> list[dict[str, Any]]:
    """Cut the bytes into tensors; every size must fit its shape and none may be left over."""
    place = 0
    outputs: list[dict[str, Any]] = []
    for tensors in vectors:
        arrays = {}
        for tensor in tensors:
            dtype, shape = np.dtype(tensor["dtype"]), [int(n) for n in tensor["shape"]]
            size = math.prod(shape) * dtype.itemsize
            if dtype.kind not in "biuf" or min(shape, default=0) < 0 or size != tensor["bytes"]:
                raise ValueError(f"output `{tensor['name']}` is misdescribed")
            arrays[tensor["name"]] = np.frombuffer(raw[place : place + size], dtype).reshape(shape)
            place += size
        outputs.append(arrays)
    if place != len(raw):
        raise ValueError("its outputs are longer or shorter than it says")
    return outputs


def _broken(outcome: Outcome) -> DeviceFailure:
    """Name how the agent ended; shells and qemu report a signal as 128 + n."""
    signal = -outcome.status if outcome.status < 0 else outcome.status - 128
    last = "\n".join(outcome.stderr.strip().splitlines()[-3:])
    if reason := _SIGNALS.get(signal):
        return DeviceFailure(reason, last or f"signal {signal}")
    return DeviceFailure("error", last or f"exit status {outcome.status}")
