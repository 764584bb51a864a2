"""The agent: the only code of edgepack that runs on a device.

It needs Python 3.9, numpy and onnxruntime, imports nothing of edgepack, and opens no connection.

``agent.py serve`` answers framed messages on standard input and output. A message is one line of
JSON, then the raw little-endian bytes of the tensors that it lists, in order:

    {"op": "load", "model": PATH, "session": SETTINGS}      -> {"inputs": [...], "runtime": ...}
    {"op": "run", "inputs": [TENSOR], "outputs": [NAME]}    -> {"outputs": [TENSOR]} + bytes

where TENSOR is {"name", "dtype", "shape", "bytes"}. A failure answers {"error": TEXT}.
"""

from __future__ import annotations

import json
import math
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: it is on by default

import numpy as np
import onnxruntime as ort

LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "layout": getattr(
        ort.GraphOptimizationLevel, "ORT_ENABLE_LAYOUT", ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    ),
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def open_session(model, settings):  # noqa: ANN001, ANN201
    """Load a model file under an artifact's session settings (`types.SessionSettings` as JSON)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = LEVELS[settings["optimization"]]
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for key, value in settings["entries"].items():
        options.add_session_config_entry(key, value)
    session = ort.InferenceSession(model, options, providers=settings["providers"])
    # A provider that fails to load falls back in silence; that would prove the wrong thing.
    if session.get_providers()[0] != settings["providers"][0]:
        raise RuntimeError(f"provider {settings['providers'][0]} did not load")
    return session


def describe(name, array):  # noqa: ANN001, ANN201
    """Return a tensor's header for the wire."""
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "bytes": array.nbytes,
    }


def serve(source, sink):  # noqa: ANN001, ANN201
    """Answer messages until the other side closes."""
    session = None
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
                results = [np.asarray(r, order="C") for r in session.run(names, arrays)]
                answer = {"outputs": [describe(n, r) for n, r in zip(names, results)]}
                payload = [r.data if math.prod(r.shape) else b"" for r in results]
        except Exception as problem:  # noqa: BLE001  whatever was raised is the answer
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        sink.write(json.dumps(answer).encode() + b"\n")
        for piece in payload:
            sink.write(piece)
        sink.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not land among the answers
    serve(sys.stdin.buffer, answers)
