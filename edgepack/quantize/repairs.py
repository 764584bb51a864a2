"""The rungs of the repair ladder that `quantize` knows: what may mend answers that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgepack.base import Repair

if TYPE_CHECKING:
    from edgepack.quantize.quantize import Quantize

CLIPPED = 99.9
"""Percent of values that survive where single outliers stretch a range: 99.99 kept one sample's."""


def repairs(one: Quantize) -> tuple[Repair, ...]:
    """Return the rungs for a scheme, the cheapest first; none where it computes in float."""
    if one.scheme == "w8a8-static":
        return tuple(_static(one))
    if one.scheme == "w8-dynamic":
        return tuple(_dynamic(one))
    return ()


def _static(one: Quantize) -> Iterator[Repair]:
    for method in ("minmax", "entropy", "mse"):
        if method != one.calibration:
            yield Repair(name=f"{method} ranges", options={"calibration": method})
    clipped = {"calibration": "percentile", "percentile": CLIPPED}
    yield Repair(name=f"{CLIPPED} % ranges", options=clipped)
    yield Repair(name="equalise", before=(("equalise", {}),))
    yield Repair(name=f"equalise + {CLIPPED} % ranges", before=(("equalise", {}),), options=clipped)
    yield Repair(name="smooth", before=(("smooth", {"insert": True}),))
    if not one.per_channel:
        yield Repair(name="per channel", options={"per_channel": True, "weight_symmetric": True})
    if one.reduce_range and one.weight_type == "s8":
        yield Repair(name="unsigned weights", options={"weight_type": "u8", "reduce_range": False})
    if one.rounding == "nearest":
        yield Repair(name="adaround", options={"rounding": "adaround"})


def _dynamic(one: Quantize) -> Iterator[Repair]:
    yield Repair(name="smooth", before=(("smooth", {"insert": True}),))
    if not one.per_channel:
        yield Repair(name="per channel", options={"per_channel": True})
