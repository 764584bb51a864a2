"""Holds what a user gives against what the model takes; casts only where nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.errors import UsageError, did_you_mean
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.types import Array


def fit(
    given: Any,
    specs: Sequence[TensorSpec],
    where: str,
    usual: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Return one run's arrays by input name, a leading batch axis of 1 added where it lacks.

    Args:
        given: a mapping by name, a tuple in the model's order, or one array for one input; ``x``
            also names the only input of a model.
        specs: the model's inputs.
        where: the data and the index of the sample, for messages.
        usual: what the inputs are fed that a mapping need not name, and a tuple does not; they
            fit already.

    Raises:
        UsageError: E276 wrong names, E277 wrong type, E278 wrong shape, E279 not a finite number.
    """
    usual = usual or {}
    named = _named(given, specs, usual, where)
    return {
        spec.name: _fitted(named[spec.name], spec, where)
        if spec.name in named
        else usual[spec.name]
        for spec in specs
    }


def _named(
    given: Any, specs: Sequence[TensorSpec], usual: Mapping[str, Array], where: str
) -> Mapping[str, Any]:
    names = [spec.name for spec in specs if spec.name not in usual]
    if not isinstance(given, Mapping):
        parts = given if isinstance(given, tuple) else (given,)
        if len(parts) != len(names):
            raise UsageError(
                "E276",
                f"a sample has {len(parts)} arrays and the model {len(names)} inputs",
                where=where,
                fix=f"give a mapping with {', '.join(names)}",
            )
        return dict(zip(names, parts, strict=True))
    named = _renamed(given, names, usual)
    if missing := [name for name in names if name not in named]:
        raise UsageError(
            "E276",
            f"a sample lacks the input `{missing[0]}`",
            where=where,
            why=f"it has {', '.join(map(str, named)) or 'nothing'}",
            fix=f"name the arrays as the model does: {', '.join(names)}",
        )
    if strange := [name for name in named if name not in names and name not in usual]:
        raise UsageError(
            "E276",
            f"the model has no input `{strange[0]}`",
            where=where,
            fix=f"remove it or rename it; {did_you_mean(str(strange[0]), names)}",
        )
    return named


def _renamed(
    given: Mapping[str, Any], names: Sequence[str], usual: Mapping[str, Array]
) -> Mapping[str, Any]:
    """Read `x` as the only input that the data must give, where no input is called so."""
    if len(names) != 1 or "x" not in given or "x" in {*names, *usual} or names[0] in given:
        return given
    return {(names[0] if name == "x" else name): value for name, value in given.items()}


def _fitted(value: Any, spec: TensorSpec, where: str) -> Array:
    array = _cast(_array(value, spec, where), spec, where)
    if array.ndim == len(spec.shape) - 1:
        array = array[None]
    # An axis that leads and is free is the batch; a sample is one item of it.
    wanted = [1 if axis == 0 and isinstance(n, str) else n for axis, n in enumerate(spec.shape)]
    fits = array.ndim == len(wanted) and all(
        isinstance(n, str) or n == size for n, size in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        raise UsageError(
            "E278",
            f"`{spec.name}` has the shape {list(array.shape)}",
            where=where,
            why=f"the model takes [{', '.join(map(str, wanted))}] for one sample",
            fix="give each sample that shape; the leading axis of 1 may be left out",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UsageError(
            "E279",
            f"`{spec.name}` holds a value that is NaN or infinite",
            where=where,
            fix="remove the sample, or mend what computes it",
        )
    return array


def _array(value: Any, spec: TensorSpec, where: str) -> Array:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as problem:
        raise UsageError(
            "E277", f"`{spec.name}` is no array", where=where, why=str(problem), fix="give an array"
        ) from problem


def _cast(array: Array, spec: TensorSpec, where: str) -> Array:
    """Cast within a kind: to a type that holds every value, and float64 to float32."""
    have = array.dtype
    if have.name == spec.dtype:
        return array
    if spec.dtype != "string":
        want = np.dtype(spec.dtype)
        same_kind = have.kind == want.kind or (have.kind in "biu" and want.kind in "iu")
        narrowed = (have.name, want.name) == ("float64", "float32")
        if same_kind and (narrowed or np.can_cast(have, want, "safe")):
            with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
                return array.astype(want)
    scaled = " / 255" if have.name == "uint8" and spec.dtype.startswith("float") else ""
    raise UsageError(
        "E277",
        f"`{spec.name}` has the type {have}",
        where=where,
        why=f"the model takes {spec.dtype}, and what the values mean would be a guess",
        fix="tokenise text with a tokenizer.json beside the model"
        if have.kind in "OUS"
        else f"convert it, for example `.astype(np.{spec.dtype}){scaled}`",
    )
