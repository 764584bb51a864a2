"""Limits that a recipe or a target sets, and how they add up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from edgepack.types import Frozen

_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_COUNTS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,15})?) *"
_QUANTITY = re.compile(_NUMBER + "([A-Za-z]*)")


def to_bytes(value: Any) -> Any:
    """Read ``"6 MB"`` as bytes; a bare integer is bytes already."""
    return _quantity(value, _SIZES, '"6 MB", "500 kB" or "2 MiB"')


def to_number(value: Any) -> Any:
    """Read ``"40 M"`` as a number."""
    return _quantity(value, _COUNTS, '"40 M" or "1.5 G"')


def _quantity(value: Any, units: Mapping[str, int], example: str) -> Any:
    if not isinstance(value, str):
        return value
    match = _QUANTITY.fullmatch(value.strip())
    if not match or match[2] not in units:
        raise ValueError(f"write a number and a unit, as in {example}")
    amount = Fraction(match[1]) * units[match[2]]
    if amount.denominator != 1:
        raise ValueError(f"`{value}` is not a whole number; write one, as in {example}")
    return int(amount)


def _schema(units: Mapping[str, int]) -> WithJsonSchema:
    """Describe a quantity as it may be written."""
    pattern = f"^ *{_NUMBER}({'|'.join(units)}) *$"
    written = [{"type": "integer", "exclusiveMinimum": 0}, {"type": "string", "pattern": pattern}]
    return WithJsonSchema({"anyOf": written})


Size: TypeAlias = Annotated[int, Field(gt=0, strict=True), BeforeValidator(to_bytes)]
Count: TypeAlias = Annotated[int, Field(gt=0, strict=True), BeforeValidator(to_number)]


class Gates(Frozen):
    """Limits; what is left out sets none."""

    max_drop: float | None = Field(
        None,
        ge=0,
        strict=True,
        allow_inf_nan=False,
        description="points of the metric lost against the model as it came in",
    )
    cosine: float | None = Field(
        None,
        ge=0,
        le=1,
        strict=True,
        description="least mean cosine to the outputs of the model as it came in",
    )
    size: Annotated[Size | None, _schema(_SIZES)] = Field(None, description="bytes of the artifact")
    instructions: Annotated[Count | None, _schema(_COUNTS)] = Field(
        None, description="instructions that one inference executes"
    )

    max_slowdown: float | None = Field(
        None,
        ge=0,
        strict=True,
        allow_inf_nan=False,
        description="percent of instructions more than the float model executes",
    )

    def over(self, weaker: Gates) -> Gates:
        """Return these limits, and the weaker ones where these set none."""
        return Gates.model_validate({**weaker.set_(), **self.set_()})

    def set_(self) -> dict[str, Any]:
        """Return the limits that are set."""
        return self.model_dump(exclude_none=True)
