"""OpenVINO's converter and NNCF's OpenVINO backend, their defaults."""

from pathlib import Path

import nncf
import openvino
from job import calibration, read

job = read()

model = openvino.convert_model(job["float"])
kind = nncf.ModelType.TRANSFORMER if job["case"] == "minilm" else None
data = nncf.Dataset(calibration(job))
openvino.save_model(nncf.quantize(model, data, model_type=kind), Path(job["out"]) / "model.xml")
