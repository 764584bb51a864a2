"""The plain script: export, then `quantize_dynamic` with its defaults."""

from pathlib import Path

import onnx
from job import read
from models import export
from onnxruntime.quantization import quantize_dynamic

job = read()

out = Path(job["out"])
export(job, out / "float.onnx")
model = onnx.load(out / "float.onnx")
del model.graph.value_info[:]  # dynamo writes some for weights, and the quantiser trips on them
quantize_dynamic(model, out / "model.onnx")
