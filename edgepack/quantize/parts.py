"""Which operators a scheme may be confined to, where the whole of it did not gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from edgepack.quantize.survey import CONVOLUTIONS
from edgepack.types import Scheme

Operator: TypeAlias = Literal["Conv", "ConvTranspose", "MatMul", "Gemm"]


def parts(operators: Mapping[str, int], scheme: Scheme) -> tuple[tuple[Operator, ...], ...]:
    """Return the subsets of operators that are worth a try by themselves.

    Convolutions and products are told apart, where a graph has both: the one may lose what the
    other gains. Only `w8a8-static` quantises both.

    Args:
        operators: how often each operator occurs.
        scheme: the scheme that would be confined.
    """
    present: tuple[Operator, ...] = tuple(o for o in get_args(Operator) if operators.get(o))
    convolutions = tuple(o for o in present if o in CONVOLUTIONS)
    products = tuple(o for o in present if o not in CONVOLUTIONS)
    if scheme != "w8a8-static" or not (convolutions and products):
        return ()
    return convolutions, products
