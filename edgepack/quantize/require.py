"""Refuses a scheme that a graph or its data cannot carry, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from edgepack.errors import ModelError, did_you_mean
from edgepack.quantize.survey import Survey, kept, weighted
from edgepack.types import Scheme, Width

if TYPE_CHECKING:
    import onnx

Calibration: TypeAlias = Literal["given", "generated", "none"]

PACKED: dict[Scheme, Width] = {
    "w2-weight-only": "w2",
    "ternary-weight-only": "ternary",
    "binary-weight-only": "binary",
}
"""Schemes whose weights are stored in few bits and expanded when the model is loaded."""
AXIS = 13
"""The first opset whose QuantizeLinear takes a scale a channel."""


def require(scheme: Scheme, found: Survey, calibration: Calibration) -> None:
    """Require that a scheme has layers to quantise and, if static, samples to do it by.

    Raises:
        ModelError: E450 for static without real calibration data, E455 where nothing can be
            quantised.
    """
    convolves = scheme == "w8a8-static" or scheme in PACKED
    layers = found.products + (found.convolutions if convolves else 0)
    if scheme not in {"fp16", "bf16", "float"} and not layers:
        raise ModelError(
            "E455",
            f"the scheme `{scheme}` finds nothing to quantise",
            why=_nothing(scheme, found),
            fix='choose scheme = "auto" or "float"',
        )
    if scheme == "w8a8-static" and calibration != "given":
        raise ModelError(
            "E450",
            "the scheme `w8a8-static` needs calibration data",
            why=_UNCALIBRATED[calibration],
            fix='add `calibration = "..."` under [data], or choose scheme = "w8-dynamic"',
        )


def require_axis(opset: int) -> None:
    """Require an opset whose QuantizeLinear takes a scale a channel.

    Raises:
        ModelError: E456 for an older one.
    """
    if opset < AXIS:
        raise ModelError(
            "E456",
            f"a model of opset {opset} cannot have a scale a channel",
            why=f"QuantizeLinear has an axis since opset {AXIS}",
            fix=f"export at opset {AXIS} or later, or set per_channel = false",
        )


def require_named(proto: onnx.ModelProto, keep: tuple[str, ...]) -> None:
    """Require that each pattern of layers to keep names a node.

    Raises:
        ModelError: E462 for one that names none.
    """
    for pattern in keep:
        if not any(kept(node, (pattern,)) for node in proto.graph.node):
            weights = {t.name for t in proto.graph.initializer}
            layers = [node.name for node in proto.graph.node if weighted(node, weights)]
            raise ModelError(
                "E462",
                f"`{pattern}` names no layer to keep",
                why=f"the graph has {len(layers)} layers with weights, such as {_some(layers)}",
                fix=did_you_mean(pattern, layers) if layers else "keep = []",
            )


def _some(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) or "none"


_UNCALIBRATED: dict[Calibration, str] = {
    "none": "there is no calibration data",
    "generated": "the calibration samples were made up, and so would be the ranges",
}


def _nothing(scheme: Scheme, found: Survey) -> str:
    counts = f"{found.products} matrix products and {found.convolutions} convolutions have constant"
    stays = []
    if found.convolutions and scheme == "w8-dynamic":
        stays.append("convolutions would run slower than float")
    if found.convolutions and scheme in {"w8-weight-only", "w4-weight-only"}:
        stays.append("convolutions have no kernel for it")
    if found.recurrent:
        stays.append(f"{found.recurrent} recurrent layers stay float")
    return "; ".join([f"{counts} float32 weights", *stays])
