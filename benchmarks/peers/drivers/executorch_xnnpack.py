"""ExecuTorch with XNNPACK: int8 by torchao's export quantiser, dynamic for the encoder."""

from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from job import calibration, read
from models import load
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

job = read()

net, example = load(job)
if job["case"] == "minilm":
    example = {name: torch.ones(1, 128, dtype=torch.int64) for name in example}
    dynamic = {1: torch.export.Dim("sequence", min=8, max=256)}
    shapes = dict.fromkeys(example, dynamic)
else:
    shapes = None
inputs = tuple(example.values())
shaped = tuple(shapes.values()) if shapes else None
program = torch.export.export(net, inputs, dynamic_shapes=shaped).module()
quantizer = XNNPACKQuantizer().set_global(
    get_symmetric_quantization_config(is_per_channel=True, is_dynamic=job["case"] == "minilm")
)
prepared = prepare_pt2e(program, quantizer)
for given in calibration(job)[:32]:
    prepared(*(torch.from_numpy(given[name]) for name in example))
done = torch.export.export(convert_pt2e(prepared), inputs, dynamic_shapes=shaped)
lowered = to_edge_transform_and_lower(done, partitioner=[XnnpackPartitioner()]).to_executorch()
(Path(job["out"]) / "model.pte").write_bytes(lowered.buffer)
