"""Inputs made up from specs, and sizes of dynamic axes at which a graph really runs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgepack.errors import ModelError
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.base import Runner, Session
    from edgepack.graph import Graph
    from edgepack.types import Array, Tensors

_BATCH = (1,)
_PICTURE = (32, 48, 64, 96, 224, 320)
_OTHER = (8, 16, 32, 64, 128, 256, 512, 576)
_TRIES = 96


def example_inputs(
    inputs: tuple[TensorSpec, ...], seed: int, sizes: Mapping[str, int] | None = None
) -> Tensors:
    """Make inputs up: the same for the same name, shape and seed, whatever stands beside it.

    Floats are standard normal, integers 0 to 9, masks one, token types zero, booleans true.

    Args:
        inputs: what to make.
        seed: seeds each input together with its name.
        sizes: dynamic axes by name; those left out are 1 for a batch, 32 for the height and width
            of pictures, 8 otherwise. An axis named as a sum, ``past + now``, adds its parts up.
    """
    full = {**{name: options[0] for name, options in _axes(inputs).items()}, **(sizes or {})}
    return {spec.name: _example(spec, seed, full) for spec in inputs}


def workable_sizes(graph: Graph, runner: Runner, seed: int = 0) -> tuple[dict[str, int], ...]:
    """Return up to three assignments of sizes to dynamic axes on which the graph runs.

    The first is the smallest of those tried that works; the others differ from it in length or
    batch where the graph allows it. Without dynamic axes it is one empty assignment. Nothing is
    returned when the graph runs on none; give the sizes then.

    Raises:
        ModelError: E420 to E423 as the runner does.
    """
    axes = _axes(graph.inputs)
    with runner.open(graph) as session:
        base = next((s for s in _candidates(axes) if _runs(session, graph, seed, s)), None)
        if base is None:
            return ()
        found = [base]
        for sizes in _grown(base, axes):
            if len(found) == 3:
                break
            if sizes not in found and _runs(session, graph, seed, sizes):
                found.append(sizes)
    return tuple(found)


def _axes(inputs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    """Return the sizes to try, in order, for each dynamic axis; sums follow from their parts."""
    axes: dict[str, tuple[int, ...]] = {}
    for spec in inputs:
        for place, axis in enumerate(spec.shape):
            if isinstance(axis, int) or "+" in axis:
                continue
            picture = len(spec.shape) >= 4 and place >= 2
            options: tuple[int, ...] = _PICTURE if picture else _OTHER
            if place == 0 or "batch" in axis.lower():
                options = _BATCH
            if axis not in axes or options == _BATCH:
                axes[axis] = options
    return axes


def _candidates(axes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, int]]:
    """Yield up to `_TRIES` assignments: all axes alike, then one of them 1, then one apart."""
    rungs = range(max(map(len, axes.values()), default=1))
    ladder = [{a: o[min(r, len(o) - 1)] for a, o in axes.items()} for r in rungs]
    alone = [{**rung, axis: 1} for rung in ladder for axis in axes]
    apart = [{**rung, axis: n} for rung in ladder for axis in axes for n in axes[axis]]
    seen: list[dict[str, int]] = []
    for sizes in [*ladder, *alone, *apart]:
        if sizes not in seen and len(seen) < _TRIES:
            seen.append(sizes)
            yield sizes


def _grown(base: Mapping[str, int], axes: Mapping[str, tuple[int, ...]]) -> list[dict[str, int]]:
    """Return assignments that are larger than one that works, in order of preference."""
    batch = {a for a, options in axes.items() if options == _BATCH}

    def scaled(length: int, count: int) -> dict[str, int]:
        return {a: n * (count if a in batch else length) for a, n in base.items()}

    singly = [{**base, axis: n * 2} for axis, n in base.items()]
    return [scaled(2, 1), scaled(1, 2), scaled(2, 2), scaled(3, 1), scaled(1, 3), *singly]


def _runs(session: Session, graph: Graph, seed: int, sizes: Mapping[str, int]) -> bool:
    try:
        session.run(example_inputs(graph.inputs, seed, sizes))
    except ModelError as problem:
        if problem.code != "E424":
            raise
        return False
    return True


def _example(spec: TensorSpec, seed: int, sizes: Mapping[str, int]) -> Array:
    shape = tuple(_size(axis, sizes) for axis in spec.shape)
    rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    name = spec.name.lower()
    if spec.dtype == "string":
        return np.full(shape, "text", dtype=object)
    if "mask" in name or spec.dtype == "bool":
        return np.ones(shape, spec.dtype)
    if spec.dtype.startswith("float"):
        return rng.standard_normal(shape).astype(spec.dtype)
    if "token_type" in name or "segment" in name:
        return np.zeros(shape, spec.dtype)
    return rng.integers(0, 10, shape).astype(spec.dtype)


def _size(axis: int | str, sizes: Mapping[str, int]) -> int:
    if isinstance(axis, int):
        return axis
    if axis in sizes:
        return sizes[axis]
    parts = [part.strip() for part in axis.split("+")]
    return sum(int(p) if p.isdigit() else sizes.get(p, _OTHER[0]) for p in parts)
