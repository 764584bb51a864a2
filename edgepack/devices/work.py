"""Asks a channel for work: the one place that speaks to the agent in job mode.

A device is not trusted. What it sends is held against a strict schema, and the sizes that follow
from it, before any of it is used; its words are stripped of what a terminal would obey.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from edgepack.devices import Answer, Channel, DeviceFailure, Job, Outcome
from edgepack.errors import HostError
from edgepack.types import DType, Frozen

AGENT = Path(__file__).parent / "agent.py"
MOST_RESULT, MOST_OUTPUT = 1 << 24, 1 << 31
"""Bytes that a device's result.json and outputs.bin may have."""
_SIGNALS = {4: "illegal-instruction", 6: "crash", 7: "crash", 8: "crash", 9: "crash", 11: "crash"}
_Size = Annotated[int, Field(ge=0, lt=1 << 62)]


class _Tensor(Frozen):
    name: str
    dtype: DType
    shape: tuple[_Size, ...]
    bytes: _Size


class _Result(Frozen):
    """result.json, as `agent.py` writes it."""

    runtime: Annotated[str, Field(pattern=r"^[ -~]{1,80}$")]
    vectors: tuple[tuple[_Tensor, ...], ...]
    latency_ns: tuple[_Size, ...]
    memory_bytes: _Size


def execute(channel: Channel, job: Job) -> Answer:
    """Run a job on a channel.

    Raises:
        DeviceFailure: when the agent crashes, misses its deadline, or answers nonsense.
        HostError: when the device cannot be reached; E310 where it has no working runtime.
    """
    with tempfile.TemporaryDirectory(prefix="edgepack-job-") as work:
        folder = Path(work)
        rounds = job.rounds if channel.real_clock else 0
        _write(job, rounds, folder)
        files = {name: folder / name for name in ("job.json", "inputs.bin")}
        beside = job.model.with_name(f"{job.model.name}.data")
        if beside.exists():
            files["model.onnx.data"] = beside
        channel.push({"agent.py": AGENT, "model.onnx": job.model, **files})
        outcome = channel.run(["job"], seconds=job.seconds, counted=job.count)
        if outcome.status != 0:
            raise _broken(channel, outcome)
        for name, most in (("result.json", MOST_RESULT), ("outputs.bin", MOST_OUTPUT)):
            channel.pull(name, folder / name)
            if (folder / name).stat().st_size > most:
                raise DeviceFailure("error", f"the device's {name} is too large")
        told, outputs = _read(job, rounds, folder)
        return _answer(channel, job, outcome, told, outputs)


def _write(job: Job, rounds: int, folder: Path) -> None:
    with (folder / "inputs.bin").open("wb") as stream:
        vectors = []
        for inputs in job.vectors:
            arrays = {name: _dense(array) for name, array in inputs.items()}
            vectors.append([_describe(name, array) for name, array in arrays.items()])
            for array in arrays.values():
                stream.write(array.tobytes())
    task = {
        "model": "model.onnx",
        "session": job.session.model_dump(mode="json"),
        "vectors": vectors,
        "count": job.count,
        "rounds": rounds,
    }
    (folder / "job.json").write_text(json.dumps(task))


def _dense(array: Any) -> np.ndarray[Any, Any]:
    plain = np.asarray(array)
    return np.asarray(plain, plain.dtype.newbyteorder("<"), order="C")


def _describe(name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    shape, size = list(array.shape), array.nbytes
    return {"name": name, "dtype": array.dtype.name, "shape": shape, "bytes": size}


def _read(job: Job, rounds: int, folder: Path) -> tuple[_Result, list[dict[str, Any]]]:
    """Read what the device left; whatever is wrong with it is the device's failure."""
    try:
        told = _Result.model_validate_json((folder / "result.json").read_bytes(), strict=True)
        outputs = _outputs(told, (folder / "outputs.bin").read_bytes())
        if len(outputs) != len(job.vectors):
            raise ValueError(f"{len(outputs)} answers to {len(job.vectors)} vectors")
        if len(told.latency_ns) != rounds:
            raise ValueError(f"{len(told.latency_ns)} latencies of {rounds} rounds")
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _nonsense(f"{place}: {first['msg']}") from problem
    except ValueError as problem:
        raise _nonsense(str(problem)) from problem
    return told, outputs


def _nonsense(why: str) -> DeviceFailure:
    return DeviceFailure("error", f"its answer is nonsense: {_tame(why)[:400]}")


def _answer(
    channel: Channel, job: Job, outcome: Outcome, told: _Result, outputs: list[dict[str, Any]]
) -> Answer:
    counts, why = outcome.counts, outcome.not_counted
    if job.count and not why and len(counts) < 2:
        why = "the agent ended amid its marks" if channel.counts else f"{channel.name} cannot count"
    return Answer(
        runtime=told.runtime,
        outputs=outputs,
        instructions=min(counts[1:]) - counts[0] if job.count and not why else None,
        not_counted=why,
        latency_ns=told.latency_ns,
        memory_bytes=told.memory_bytes,
    )


def _outputs(told: _Result, raw: bytes) -> list[dict[str, Any]]:
    """Cut the bytes into tensors; every size must fit its shape and none may be left over."""
    place = 0
    outputs: list[dict[str, Any]] = []
    for tensors in told.vectors:
        arrays: dict[str, Any] = {}
        for tensor in tensors:
            if tensor.dtype == "string" or tensor.name in arrays:
                raise ValueError(f"output `{tensor.name}` holds text or is given twice")
            dtype = np.dtype(tensor.dtype)
            if math.prod(tensor.shape) * dtype.itemsize != tensor.bytes:
                raise ValueError(f"output `{tensor.name}` is misdescribed")
            piece = raw[place : place + tensor.bytes]
            arrays[tensor.name] = np.frombuffer(piece, dtype).reshape(tensor.shape)
            place += tensor.bytes
        outputs.append(arrays)
    if place != len(raw):
        raise ValueError("its outputs are longer or shorter than it says")
    return outputs


def _broken(channel: Channel, outcome: Outcome) -> DeviceFailure | HostError:
    """Name how the agent ended; shells and qemu report a signal as 128 + n."""
    said = outcome.stderr.rstrip().splitlines()[-3:]
    last = _tame("\n".join(said))
    number = -outcome.status if outcome.status < 0 else outcome.status - 128
    if reason := _SIGNALS.get(number):
        return DeviceFailure(reason, last or f"signal {number}")
    final = last.rpartition("\n")[2]
    if final.startswith(("ImportError:", "ModuleNotFoundError:")):
        return HostError(
            "E310",
            "the device has no working ONNX Runtime",
            where=channel.name,
            why=final,
            fix="install onnxruntime and numpy there; for an emulated one, `edgepack doctor`",
        )
    return DeviceFailure("error", last or f"exit status {outcome.status}")


def _tame(text: str) -> str:
    """Replace what a terminal would obey; a device's words end up on one."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
