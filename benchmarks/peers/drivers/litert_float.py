"""LiteRT: torch's program converted, in float, at one length of the encoder."""

from pathlib import Path

import litert_torch
import torch
from job import read
from models import load

job = read()

net, example = load(job)
if job["case"] == "minilm":
    example = {name: torch.ones(1, 128, dtype=torch.int64) for name in example}
litert_torch.convert(net, tuple(example.values())).export(str(Path(job["out"]) / "model.tflite"))
