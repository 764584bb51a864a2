"""Loads one model in an environment of its own and answers a line at a time.

`python served.py KIND MODEL SETTINGS`; KIND is ort, openvino, executorch or litert, SETTINGS JSON.
A line `time FILE.npz` answers the nanoseconds of one run, of the processor and of the clock;
`answer FILE.npz TO.npy` writes the first output; `memory` answers the peak resident bytes. What
goes wrong answers `error` and why.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np

Run = Callable[[dict[str, np.ndarray]], Any]


def ort(model: str, settings: dict[str, Any]) -> Run:
    """Load with the session settings that an artifact ships, by edgepack's own agent."""
    sys.path.insert(0, settings["agent"])
    from agent import open_session

    session = open_session(model, settings["session"])
    names = [given.name for given in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in names})[0]


def openvino(model: str, settings: dict[str, Any]) -> Run:
    """Load an IR file."""
    from openvino import Core

    threads = {"INFERENCE_NUM_THREADS": settings["session"]["threads"]}
    request = Core().compile_model(model, "CPU", threads).create_infer_request()
    names = {name for port in request.model_inputs for name in port.names}
    return lambda inputs: request.infer({k: v for k, v in inputs.items() if k in names})[0]


def executorch(model: str, settings: dict[str, Any]) -> Run:
    """Load a .pte file; it takes inputs by place."""
    import torch
    from executorch.runtime import Runtime

    torch.set_num_threads(settings["session"]["threads"])
    method = Runtime.get().load_program(model).load_method("forward")
    return lambda inputs: method.execute([torch.from_numpy(v) for v in inputs.values()])[0].numpy()


def litert(model: str, settings: dict[str, Any]) -> Run:
    """Load a .tflite file; it takes inputs by place."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=settings["session"]["threads"])
    interpreter.allocate_tensors()
    places = sorted(interpreter.get_input_details(), key=lambda one: one["name"])
    [answer] = interpreter.get_output_details()[:1]

    def run(inputs: dict[str, np.ndarray]) -> Any:
        for place, array in zip(places, inputs.values(), strict=True):
            interpreter.set_tensor(place["index"], array)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run


def main() -> None:
    """Load, say so, then answer."""
    kind, model, settings = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not land among the answers
    run = globals()[kind](model, json.loads(settings))
    files: dict[str, dict[str, np.ndarray]] = {}
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "memory":
            # Not getrusage: a process inherits the peak of the one that started it.
            status = Path("/proc/self/status").read_text()
            told = str(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
        else:
            if rest[0] not in files:
                with np.load(rest[0]) as arrays:
                    files[rest[0]] = dict(arrays)
            began, clock = time.process_time_ns(), time.perf_counter_ns()
            try:
                result = run(files[rest[0]])
                told = f"{time.process_time_ns() - began} {time.perf_counter_ns() - clock}"
                if word == "answer":
                    np.save(rest[1], np.asarray(result))
            except Exception as problem:  # noqa: BLE001  whatever was raised is the answer
                told = "error " + " ".join(f"{type(problem).__name__}: {problem}".split())
        print(told, file=answers, flush=True)


if __name__ == "__main__":
    main()
