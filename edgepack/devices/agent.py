"""The agent: the only code of edgepack that runs on a device.

It needs Python 3.9, numpy and onnxruntime, imports nothing of edgepack, and opens no connection.

``agent.py serve`` answers framed messages on standard input and output. A message is one line of
JSON, then the raw little-endian bytes of the tensors that it lists, in order:

    {"op": "load", "model": PATH, "session": SETTINGS}      -> {"inputs": [...], "runtime": ...}
    {"op": "run", "inputs": [TENSOR], "outputs": [NAME]}    -> {"outputs": [TENSOR]} + bytes

where TENSOR is {"name", "dtype", "shape", "bytes"}. A failure answers {"error": TEXT}.

``agent.py job`` reads from its folder job.json, {"model", "session", "vectors": [[TENSOR]],
"count", "rounds"}, and inputs.bin, the bytes of the tensors one after the other; it writes
outputs.bin alike and, when all went well, result.json. A failure is one line on standard error and
exit status 1.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import IO, Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: it is on by default

import numpy as np
import onnxruntime as ort

Run = Callable[..., Any]
LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "layout": getattr(
        ort.GraphOptimizationLevel, "ORT_ENABLE_LAYOUT", ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    ),
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def open_session(model: str, settings: dict[str, Any]) -> ort.InferenceSession:
    """Load a model file under an artifact's session settings (`types.SessionSettings` as JSON)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = LEVELS[settings["optimization"]]
    options.log_severity_level = 4  # what fails is raised; a log would only say it twice
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for key, value in settings["entries"].items():
        options.add_session_config_entry(key, value)
    providers = [with_options(name, settings["threads"]) for name in settings["providers"]]
    session = ort.InferenceSession(model, options, providers=providers)
    # A provider that fails to load falls back in silence; that would prove the wrong thing.
    if session.get_providers()[0] != settings["providers"][0]:
        raise RuntimeError(f"provider {settings['providers'][0]} did not load")
    return session


def with_options(provider: str, threads: int) -> Any:
    """Return a provider as a session takes it; OpenVINO has its own number of threads."""
    if provider != "OpenVINOExecutionProvider":
        return provider
    chosen = json.dumps({"CPU": {"INFERENCE_NUM_THREADS": str(threads)}})
    return provider, {"device_type": "CPU", "load_config": chosen}


def describe(name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return a tensor's header for the wire."""
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "bytes": array.nbytes,
    }


def plain(name: str, value: Any) -> np.ndarray[Any, Any]:
    """Return an output as an array of numbers; sequences, maps and strings do not travel."""
    if isinstance(value, (list, dict)) or np.asarray(value).dtype.kind not in "biuf":
        raise TypeError(f"output `{name}` is not a tensor of numbers")
    return np.asarray(value, order="C")


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer messages until the other side closes."""
    session: Any = None
    while line := source.readline():
        message = json.loads(line)
        arrays = {}
        for tensor in message.get("inputs", []):
            raw = source.read(tensor["bytes"])
            arrays[tensor["name"]] = np.frombuffer(raw, tensor["dtype"]).reshape(tensor["shape"])
        payload = []
        try:
            if message["op"] == "load":
                session = open_session(message["model"], message["session"])
                answer = {
                    "runtime": ort.__version__,
                    "inputs": [i.name for i in session.get_inputs()],
                    "outputs": [o.name for o in session.get_outputs()],
                }
            else:
                names = message["outputs"] or [o.name for o in session.get_outputs()]
                results = [plain(n, r) for n, r in zip(names, session.run(names, arrays))]
                answer = {"outputs": [describe(n, r) for n, r in zip(names, results)]}
                payload = [r.data if math.prod(r.shape) else b"" for r in results]
        except Exception as problem:  # noqa: BLE001  whatever was raised is the answer
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        sink.write(json.dumps(answer).encode() + b"\n")
        for piece in payload:
            sink.write(piece)
        sink.flush()


MAGIC, START, STOP = 0x45504B << 32, 1 << 24, 2 << 24  # as in devices/count
INNER_RUNS = 8


def job() -> None:
    """Do the work that job.json describes."""
    with open("job.json", "rb") as stream:  # noqa: PTH123
        task = json.load(stream)
    session = open_session(task["model"], task["session"])
    names = [output.name for output in session.get_outputs()]
    vectors = []
    with open("inputs.bin", "rb") as stream:  # noqa: PTH123
        for tensors in task["vectors"]:
            vectors.append({t["name"]: read(stream, t) for t in tensors})
    told = []
    with open("outputs.bin", "wb") as sink:  # noqa: PTH123
        for inputs in vectors:
            results = [plain(n, r) for n, r in zip(names, session.run(names, inputs))]
            told.append([describe(n, r) for n, r in zip(names, results)])
            for array in results:
                sink.write(array.tobytes())
    if task["count"]:
        mark_runs(session.run, names, vectors[0])
    result = {
        "runtime": "onnxruntime " + ort.__version__,
        "vectors": told,
        "latency_ns": [timed(session.run, names, vectors[0]) for _ in range(task["rounds"])],
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    with open("result.json", "w") as text:  # noqa: PTH123
        json.dump(result, text)


def read(stream: IO[bytes], tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Read one tensor."""
    raw = stream.read(tensor["bytes"])
    return np.frombuffer(raw, tensor["dtype"]).reshape(tensor["shape"])


def mark_runs(run: Run, names: list[str], inputs: Any) -> None:
    """Run between marks that the counting plugin sees: first an empty pair, then the inferences."""
    seek, begin = os.lseek, os.SEEK_SET  # local names cost fewer instructions between marks
    null = os.open(os.devnull, os.O_RDONLY)
    gc.collect()
    gc.disable()
    run(names, inputs)
    start, stop = MAGIC | START, MAGIC | STOP
    seek(null, start, begin)
    seek(null, stop, begin)
    for _ in range(INNER_RUNS):
        seek(null, start, begin)
        run(names, inputs)
        seek(null, stop, begin)
    gc.enable()
    os.close(null)


def timed(run: Run, names: list[str], inputs: Any) -> int:
    """Return the nanoseconds of one inference on this machine's clock."""
    began = time.perf_counter_ns()
    run(names, inputs)
    return time.perf_counter_ns() - began


if __name__ == "__main__":
    if sys.argv[1:] == ["job"]:
        try:
            job()
        except Exception as problem:  # noqa: BLE001  whatever was raised is the answer
            words = " ".join(str(problem).split())
            sys.exit(f"{type(problem).__name__}: {words}")
        sys.exit()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not land among the answers
    serve(sys.stdin.buffer, answers)
