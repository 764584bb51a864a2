"""Few levels for weights: rounded after training, and trained with; int8 held against torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from compress.scene import Bar, accuracy, applied, convnet
from edgepack.compress.qat import Qat
from edgepack.export.grids import table_of
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.edits.fake import Rounded
from edgepack.quantize.bits.few import few
from edgepack.quantize.learned import store_learned
from edgepack.source.digits import RANGES, pictures
from edgepack.types import Width

if TYPE_CHECKING:
    from edgepack.types import Array

EPOCHS = 6
OPSET = 20
FEW: tuple[Width, ...] = ("ternary", "w2", "binary")
BARS = (
    *(Bar(f"lost after training, {w}", 20, True, "points of accuracy") for w in FEW),
    *(Bar(f"lost by qat, {w}", 2.5, False, "points of accuracy") for w in FEW),
    Bar("lost by qat, w8", 0.5, False, "points of accuracy"),
    Bar("levels from torch, each point", 1, False, "most that ONNX Runtime stands off"),
    Bar("accuracy from torch", 0.3, False, "points that ONNX Runtime stands off"),
)


def rounded(model: Model, width: Width) -> Model:
    """Return a model with weights at few levels a channel, as `quantize` puts them untrained."""
    ours = model.copy()
    for layer in ours.module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            levels, steps = few(layer.weight.detach().numpy(), 0, width)
            stepped = levels * steps.reshape(-1, *[1] * (levels.ndim - 1))
            layer.weight.data = torch.from_numpy(stepped.astype(np.float32))
    return ours


def apart(model: Model) -> dict[str, float]:
    """Return how far ONNX Runtime stands from torch on the held-out pictures.

    At each point between layers by itself torch goes on from ONNX Runtime's levels, end to end from
    its own: there a number that fell beside a tie moves what is summed from it.
    """
    images, labels = (column[slice(*RANGES["evaluation"])] for column in pictures())
    graph = to_graph(model, OPSET).graph
    proto, table = graph.proto(), table_of(model, graph)
    assert table is not None
    store_learned(proto, table)
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            value = proto.graph.output.add(name=node.output[0])
            value.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    logits, *levels = session.run(None, {"image": images})
    alone, _ = followed(model, images, levels, forced=True)
    whole, wanted = followed(model, images, levels, forced=False)
    right = [float(np.mean(given.argmax(1) == labels)) for given in (logits, wanted)]
    return {
        "levels from torch, each point": max(float(one.max()) for one in alone),
        "levels from torch, end to end": max(float(one.max()) for one in whole),
        "percent of levels not torch's": 100 * float(np.mean(np.concatenate(whole) > 0)),
        "accuracy from torch": 100 * abs(right[0] - right[1]),
    }


def followed(
    model: Model, images: Array, levels: Sequence[Array], *, forced: bool
) -> tuple[list[Array], Array]:
    """Return how many levels torch stands off at each point, and its logits.

    Args:
        model: after `qat`.
        images: what it is shown.
        levels: of ONNX Runtime, point by point in the order of the run.
        forced: whether torch goes on from these.
    """
    found: list[Array] = []
    plain, rest = Rounded.levels, iter(levels)

    def held(self: Rounded, tensor: torch.Tensor) -> torch.Tensor:
        given, theirs = plain(self, tensor), torch.from_numpy(next(rest).astype(np.float32))
        ours = (given / self.scale).round() + self.zero
        found.append((ours - theirs).abs().numpy().ravel())
        return (theirs - self.zero) * self.scale if forced else given

    Rounded.levels = held  # type: ignore[method-assign]
    try:
        logits = model.run({"image": images})["logits"]
    finally:
        Rounded.levels = plain  # type: ignore[method-assign]
    assert len(found) == len(levels)
    return found, logits


def measure(seed: int) -> dict[str, float]:
    """Round and train the convnet at each width."""
    torch.set_num_threads(1)
    model = convnet(seed)
    before = accuracy(model)
    found = {"accuracy before": before}
    for width in FEW:
        found[f"lost after training, {width}"] = before - accuracy(rounded(model, width))
        made = applied(Qat(width=width, epochs=EPOCHS), model, seed)
        found[f"lost by qat, {width}"] = before - accuracy(made)
    made = applied(Qat(epochs=EPOCHS), model, seed)
    return found | {"lost by qat, w8": before - accuracy(made)} | apart(made)
