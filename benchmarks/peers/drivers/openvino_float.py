"""OpenVINO's converter alone; it computes in bfloat16 where the processor does."""

from pathlib import Path

import openvino
from job import read

job = read()

openvino.save_model(
    openvino.convert_model(job["float"]), Path(job["out"]) / "model.xml", compress_to_fp16=False
)
