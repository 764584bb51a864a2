"""Few levels for weights: rounded after training, and trained with; int8 held against torch."""

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from compress.scene import Bar, accuracy, applied, convnet
from edgepack.compress.fake.levels import LEVELS, Sign, Weight
from edgepack.compress.qat import Qat
from edgepack.export.grids import table_of
from edgepack.export.trace import to_graph
from edgepack.model import Model
from edgepack.model.edits.fake import MOST, Rounded
from edgepack.quantize.learned import store_learned
from edgepack.source.digits import RANGES, pictures
from edgepack.types import Width

EPOCHS = 6
OPSET = 20
FEW: tuple[Width, ...] = ("ternary", "w2", "binary")
BARS = (
    *(Bar(f"lost after training, {w}", 20, True, "points of accuracy") for w in FEW),
    *(Bar(f"lost by qat, {w}", 2.5, False, "points of accuracy") for w in FEW),
    Bar("lost by qat, w8", 0.5, False, "points of accuracy"),
    Bar("steps from torch, w8", 1, False, "largest at any point, of the coarsest rounding so far"),
    Bar("accuracy from torch, w8", 0.3, False, "points that ONNX Runtime stands off"),
)


def rounded(model: Model, width: Width) -> Model:
    """Return a model with each weight at the level nearest to it, by the least squared error."""
    ours = model.copy()
    for layer in ours.module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.detach()
            made = Sign(weight, 0) if width == "binary" else Weight(weight, 0, LEVELS[width])
            layer.weight.data = made(weight).detach()
    return ours


def apart(model: Model) -> tuple[float, float]:
    """Return how far ONNX Runtime stands from torch on the held-out pictures.

    The most at any point between layers, in steps of the coarsest rounding up to there (a sum's
    levels may lie closer than its terms'), and points of accuracy.
    """
    images, labels = (column[slice(*RANGES["evaluation"])] for column in pictures())
    seen: list[torch.Tensor] = []
    scales: list[float] = []
    plain = Rounded.levels

    def kept(self: Rounded, tensor: torch.Tensor) -> torch.Tensor:
        given = plain(self, tensor)
        seen.append((given / self.scale).round() + self.zero)
        scales.append(self.scale)
        return given

    graph = to_graph(model, OPSET).graph
    Rounded.levels = kept  # type: ignore[method-assign]
    wanted = model.run({"image": images})["logits"].argmax(1)
    Rounded.levels = plain  # type: ignore[method-assign]
    proto, table = graph.proto(), table_of(model, graph)
    assert table is not None
    store_learned(proto, table)
    points = [n.output[0] for n in proto.graph.node if n.op_type == "QuantizeLinear"]
    for name in points:
        proto.graph.output.add(name=name).type.tensor_type.elem_type = onnx.TensorProto.UINT8
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    logits, *levels = session.run(None, {"image": images})
    assert len(levels) == len(seen)
    assert max(int(level.max()) for level in levels) <= MOST
    coarsest = np.maximum.accumulate(scales)
    most = max(
        float(np.abs(ours.numpy() - theirs).max()) * own / step
        for ours, theirs, own, step in zip(seen, levels, scales, coarsest, strict=True)
    )
    lost = abs(np.mean(logits.argmax(1) == labels) - np.mean(wanted == labels))
    return most, 100 * float(lost)


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
    found["lost by qat, w8"] = before - accuracy(made)
    found["steps from torch, w8"], found["accuracy from torch, w8"] = apart(made)
    return found
