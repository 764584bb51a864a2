"""Says what of a model runs as integers, what does not and why, and what that is worth."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack.child import ChildError, call
from edgepack.errors import ModelError
from edgepack.graph.products import COUNTED, RECURRENT, work
from edgepack.types import Frozen, SessionSettings

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgepack.base import Runner
    from edgepack.graph import Graph
    from edgepack.types import Tensors

INTEGER = {
    "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "QAttention", "DynamicQuantizeLSTM", "MatMulNBits",
}  # fmt: skip
"""Kernels that multiply integers."""
GAIN = {True: 3.2, False: 2.0}
"""Times as fast as float products integer ones are, with VNNI (u8 x s8 at 128 x 384 x 1536 on a
Zen 4: 340 against 107 billion operations a second) and without."""
EVEN = 8
"""Channels that kernels take at a time."""
OUTPUTS_FIRST = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1}


class LayerWork(Frozen):
    """One node that multiplies.

    Attributes:
        node: its name.
        operator: as the file has it.
        kernel: what the runtime runs in its place.
        integer: whether that multiplies integers.
        why: why it does not.
        multiply_adds: of one inference.
        share: of all multiply-adds.
        channels: that it gives, where kernels would rather have a multiple of 8.
    """

    node: str
    operator: str
    kernel: str
    integer: bool
    why: str = ""
    multiply_adds: int
    share: float
    channels: int | None = None


class Explanation(Frozen):
    """What of a model runs as integers.

    Attributes:
        layers: in the order of computing.
        integer_share: of the multiply-adds that run as integers.
        unfused: DequantizeLinear nodes that are left between float operators.
        estimated_gain: times as fast as float, if integer products gain what `GAIN` says and the
            rest stays as it is.
    """

    layers: tuple[LayerWork, ...]
    integer_share: float
    unfused: int
    estimated_gain: float


def explain(
    graph: Graph,
    feed: Tensors,
    runner: Runner,
    settings: SessionSettings,
    *,
    vnni: bool,
) -> Explanation:
    """Load the model as a device would and look at what is left to run.

    Args:
        graph: the model.
        feed: decides the dynamic axes.
        runner: runs it once, for the shapes.
        settings: how it is loaded.
        vnni: the processor adds products of bytes in 32 bits.

    Raises:
        ModelError: E492 where it does not load, E420 to E424 where it does not run.
    """
    counted = work(graph, feed, runner)
    total = sum(counted.values()) or 1
    ran = _kernels(graph, settings)
    layers = []
    for node in graph.model.graph:
        name = node.name or node.outputs[0].name or ""
        if node.op_type not in COUNTED or name not in counted:
            continue
        kernel = _kernel(name, ran) or node.op_type
        integer = kernel in INTEGER
        layers.append(
            LayerWork(
                node=name,
                operator=node.op_type,
                kernel=kernel,
                integer=integer,
                why="" if integer else _why(node),
                multiply_adds=counted[name],
                share=counted[name] / total,
                channels=_odd(node),
            )
        )
    share = sum(layer.share for layer in layers if layer.integer)
    return Explanation(
        layers=tuple(layers),
        integer_share=share,
        unfused=sum(n["operator"] == "DequantizeLinear" and not n["constant"] for n in ran),
        estimated_gain=1 / (1 - share + share / GAIN[vnni]),
    )


def _kernels(graph: Graph, settings: SessionSettings) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="edgepack-explain-") as work_folder:
        folder = Path(work_folder)
        graph.write(folder / "model.onnx")
        files = {"model": str(folder / "model.onnx"), "optimised": str(folder / "optimised.onnx")}
        try:
            found: list[dict[str, Any]] = call(
                "edgepack.proof.optimised:kernels",
                {**files, "settings": settings.model_dump(mode="json")},
            )
        except ChildError as problem:
            raise ModelError(
                "E492",
                "what the runtime makes of the model could not be seen",
                why=problem.detail,
                fix="leave --explain out",
            ) from problem
    return found


def _kernel(name: str, ran: Sequence[Mapping[str, Any]]) -> str:
    """Return the kernel that runs for a node: fusions keep its name, or add to it."""
    exact = [n["operator"] for n in ran if n["name"] == name]
    longer = [n["operator"] for n in ran if str(n["name"]).startswith(f"{name}_")]
    for found in (exact, [one for one in longer if one in INTEGER], longer):
        if found:
            return str(found[0])
    return ""


def _why(node: ir.Node) -> str:
    """Say why a node multiplies floats."""
    if node.op_type in RECURRENT:
        return "recurrent layers stay float"
    makers = [value.producer() if value is not None else None for value in node.inputs[:2]]
    scaled = [m is not None and m.op_type == "DequantizeLinear" for m in makers]
    if all(scaled):
        zero = makers[0].inputs[2] if makers[0] is not None and len(makers[0].inputs) > 2 else None
        if zero is not None and zero.dtype is not None and zero.dtype.name == "INT8":
            return "its activations are signed bytes, for which x86 has no kernel"
        return "the runtime leaves it between DequantizeLinear and QuantizeLinear"
    constant = node.inputs[1] is not None and node.inputs[1].const_value is not None
    if not constant and not any(scaled):
        return "both factors are computed: no weights to quantise"
    if any(scaled):
        return "one of its factors is float"
    return "its weights are float"


def _odd(node: ir.Node) -> int | None:
    """Return how many channels a layer gives, where they are no multiple of 8."""
    value = node.inputs[1] if len(node.inputs) > 1 else None
    while value is not None and value.const_value is None:
        maker = value.producer()
        if maker is None or maker.op_type not in {"DequantizeLinear", "Cast"}:
            return None
        value = maker.inputs[0]
    if value is None or node.op_type not in OUTPUTS_FIRST or len(value.const_value.shape) < 2:
        return None
    place = OUTPUTS_FIRST[node.op_type]
    turned = node.attributes.get("transB")
    place = 0 if turned is not None and turned.as_int() else place
    channels = int(value.const_value.shape[place])
    return channels if channels % EVEN else None
