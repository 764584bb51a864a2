"""The three torch models, for a peer's environment: torch, and transformers for the encoder.

MiniLM and MobileNetV2 have their real weights; ResNet-18 is the shape alone, with seeded ones.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
OPSET = 20


def load(job: dict[str, Any]) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Return the module of a job's case and an example of its inputs."""
    if job["case"] == "minilm":
        return Encoder(job["weights"]), {
            name: torch.ones(2, 16, dtype=torch.int64)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        }
    if job["case"] == "mobilenet":
        net = _module(HERE.parents[1] / "examples/mobilenet/model.py").MobileNetV2()
        net.load_state_dict(torch.load(job["weights"], weights_only=True))
    else:
        net = _module(HERE / "resnet18/model.py").build()[0]
    return net.eval(), {"pictures": torch.zeros(1, 3, 224, 224)}


class Encoder(torch.nn.Module):
    """A transformers encoder that gives the states of its last layer."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        from transformers import AutoModel

        self.encoder = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor,
    ) -> torch.Tensor:
        """Return [batch, sequence, 384]."""
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.encoder(input_ids=input_ids, **given).last_hidden_state


def export(job: dict[str, Any], to: Path) -> None:
    """Export as a plain script does, by the dynamo exporter."""
    net, example = load(job)
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    shapes = dict.fromkeys(example, dims) if job["case"] == "minilm" else None
    torch.onnx.export(
        net, (), str(to), kwargs=example, dynamo=True, opset_version=OPSET, dynamic_shapes=shapes,
        external_data=False, input_names=list(example), output_names=["answer"], verbose=False,
    )  # fmt: skip


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.parent.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
