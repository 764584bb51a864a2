"""NNCF's ONNX backend, its defaults."""

from pathlib import Path

import nncf
import onnx
from job import calibration, read

job = read()

model = onnx.load(job["float"])
del model.graph.value_info[:]
kind = nncf.ModelType.TRANSFORMER if job["case"] == "minilm" else None
data = nncf.Dataset(calibration(job))
onnx.save(nncf.quantize(model, data, model_type=kind), Path(job["out"]) / "model.onnx")
