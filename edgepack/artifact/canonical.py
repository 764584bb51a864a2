"""Canonical JSON (RFC 8785): one value has one spelling, and any other spelling is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

SAFE = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""
DEPTH = 32
"""Arrays and objects inside one another."""


def dumps(value: Any) -> bytes:
    """Serialise None, bool, int, float, str, lists, tuples and mappings with string keys.

    Raises:
        ValueError: for anything else, an integer beyond `SAFE`, a number that is not finite or that
            readers would not agree on, a lone surrogate, or nesting beyond `DEPTH`.
    """
    return "".join(_pieces(value, 0)).encode()


def loads(data: bytes) -> Any:
    """Read what `dumps` writes and nothing else.

    Raises:
        ValueError: when the bytes are not JSON or not in canonical form.
    """
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if dumps(value) != data:
        raise ValueError("not in canonical form (RFC 8785)")
    return value


def _pieces(value: Any, depth: int) -> Iterator[str]:
    if depth > DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, Mapping):
        for index, key in enumerate(sorted(value, key=_utf16)):
            yield f"{',' if index else '{'}{_scalar(key)}:"
            yield from _pieces(value[key], depth + 1)
        yield "}" if value else "{}"
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield "," if index else "["
            yield from _pieces(item, depth + 1)
        yield "]" if value else "[]"
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int() if abs(value) <= SAFE:
            return str(int(value))
        case int():
            raise ValueError(f"an integer beyond 2^53: {value}")
        case float():
            return _number(value)
    raise ValueError(f"no JSON value: {type(value).__name__}")


def _utf16(key: Any) -> bytes:
    """RFC 8785 sorts keys by their UTF-16 code units."""
    if not isinstance(key, str):
        raise ValueError(f"a key that is no string: {key!r}")
    return key.encode("utf-16-be")


def _number(value: float) -> str:
    """Spell a double as ECMAScript does: the shortest digits that read back as the same number.

    Doubles from 2^53 to 1e21 would be spelled as integers that other readers take for exact ones.
    """
    if not math.isfinite(value):
        raise ValueError(f"a number that is not finite: {value}")
    if SAFE < abs(value) < 1e21:
        raise ValueError(f"a number that readers would not agree on: {value}")
    if value == 0:
        return "0"
    sign, figures, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, figures))
    point = len(digits) + int(exponent)  # digits before the decimal point
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{fraction}e{point - 1:+d}"
    return f"-{text}" if sign else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _integer(text: str) -> int:
    if len(text) > 17:
        raise ValueError("an integer beyond 2^53")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"a number that is not finite: {text}")
