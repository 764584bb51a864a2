"""The `.ort` form of a model, optimised ahead of time for the instruction set it will run on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgepack.child import ChildError, Limits, call
from edgepack.errors import ModelError
from edgepack.types import SessionSettings

LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}


def to_ort(model: Path, to: Path, arch: str, session: SessionSettings) -> None:
    """Convert an ONNX file in a child process; equal input gives equal bytes.

    Raises:
        ModelError: E482 when the runtime cannot convert it.
    """
    arguments = {
        "model": str(model),
        "to": str(to),
        "arch": arch,
        "session": session.model_dump(mode="json"),
    }
    try:
        call("edgepack.pack.ort:convert", arguments, Limits(seconds=300.0))
    except ChildError as problem:
        raise ModelError(
            "E482",
            "the model has no .ort form",
            why=problem.detail,
            fix="set `ort = false` under [package] in the target, or on the pack step",
        ) from problem


def convert(model: str, to: str, arch: str, session: Mapping[str, Any]) -> None:
    """Be the child of `to_ort`: save what the runtime makes of the model.

    It does what `onnxruntime.tools.convert_onnx_models_to_ort` does with `Fixed` optimisation and
    the target's platform, and keeps the artifact's own session settings. Blocked layouts (NCHWc)
    are for x86 alone, and other processors refuse a file that has them.
    """
    import onnxruntime as ort

    x86 = arch == "x86_64"
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(
        ort.GraphOptimizationLevel, LEVELS[session["optimization"]]
    )
    entries = {
        **session["entries"],
        "session.save_model_format": "ORT",
        "session.qdqisint8allowed": "0" if x86 else "1",
    }
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    options.optimized_model_filepath = to
    ort.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[] if x86 else ["NchwcTransformer"],
    )
