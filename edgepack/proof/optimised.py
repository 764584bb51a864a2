"""Runs in a child process: what ONNX Runtime makes of a model when it loads it."""

from __future__ import annotations

from typing import Any


def kernels(model: str, optimised: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Load a model as its artifact says and return the nodes that are left to run.

    Args:
        model: the file.
        optimised: where the runtime writes what it made of it.
        settings: `types.SessionSettings` as JSON.
    """
    import onnx
    import onnxruntime as ort

    from edgepack.devices.agent import LEVELS

    options = ort.SessionOptions()
    options.optimized_model_filepath = optimised
    options.graph_optimization_level = LEVELS[settings["optimization"]]
    options.log_severity_level = 4
    for key, value in settings["entries"].items():
        options.add_session_config_entry(key, value)
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(optimised, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [
        {
            "name": node.name,
            "operator": node.op_type,
            "constant": bool(node.input) and node.input[0] in constants,
        }
        for node in graph.node
    ]
