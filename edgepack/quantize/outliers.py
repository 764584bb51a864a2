"""What activations look like a channel, and the division that lets a product err least for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Context
from edgepack.graph import Graph
from edgepack.graph.prefix import exposed
from edgepack.graph.sequence import answers
from edgepack.quantize.weights import to_int8

if TYPE_CHECKING:
    from edgepack.types import Array

ROWS = 512
"""Rows of a tensor that are kept to measure errors on."""
ALPHAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
WORTH = 0.8
"""Share of the error that may be left where the division costs a node of its own."""


@dataclass
class Seen:
    """What was seen of a tensor whose last axis holds its channels.

    Attributes:
        low, high: extremes of each channel.
        rows: some of its rows, evenly spread over the samples.
    """

    low: Array
    high: Array
    rows: list[Array] = field(default_factory=list)


def observe(graph: Graph, names: Sequence[str], limit: int, context: Context) -> dict[str, Seen]:
    """Look at inner tensors over at most `limit` samples; memory does not grow with them."""
    samples = context.data["calibration"]
    total = min(limit, len(samples))
    each = max(1, ROWS // max(1, total))
    seen: dict[str, Seen] = {}
    if not names:
        return seen
    fed = {spec.name for spec in graph.inputs}
    inner = tuple(name for name in names if name not in fed)
    with context.runner.open(exposed(graph, inner)) as session:
        for done, sample in enumerate(islice(samples, total), 1):
            for inputs, found in answers(session, sample, inner):
                for name in names:
                    values = np.asarray(inputs[name] if name in fed else found[name])
                    _add(seen, name, values.reshape(-1, values.shape[-1]), each)
            context.events.progress("smooth", done, total)
    return seen


def _add(seen: dict[str, Seen], name: str, rows: Array, each: int) -> None:
    if not rows.size:
        return
    low, high = rows.min(axis=0), rows.max(axis=0)
    one = seen.setdefault(name, Seen(low, high))
    one.low, one.high = np.minimum(one.low, low), np.maximum(one.high, high)
    if len(one.rows) * each < ROWS:
        places = np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int)
        one.rows.append(rows[places])


def best_scale(seen: Seen, weight: Array, alpha: float | None, *, free: bool) -> Array:
    """Return what each channel is to be divided by, powers of two; ones where nothing pays.

    Args:
        seen: of the tensor.
        weight: of all products that take it, [in, out].
        alpha: how much moves into the weights; the best by error for None.
        free: whether the division costs nothing.
    """
    still = np.ones(len(weight))
    if alpha is not None:
        return _scale(seen, weight, alpha)
    scales = [_scale(seen, weight, a) for a in ALPHAS]
    errors = [_error(seen, weight, scale) for scale in scales]
    best = int(np.argmin(errors))
    limit = _error(seen, weight, still) * (1.0 if free else WORTH)
    return scales[best] if errors[best] < limit else still


def _scale(seen: Seen, weight: Array, alpha: float) -> Array:
    active = np.maximum(np.abs(seen.low), np.abs(seen.high)).astype(np.float64)
    heavy = np.abs(weight).max(axis=1).astype(np.float64)
    alive = (active > 0) & (heavy > 0)
    ratio = np.where(alive, active, 1) ** alpha / np.where(alive, heavy, 1) ** (1 - alpha)
    middle = np.exp2(np.median(np.log2(ratio)))
    return np.where(alive, np.exp2(np.round(np.log2(ratio / middle))), 1.0)


def _error(seen: Seen, weight: Array, scale: Array) -> float:
    """Return the squared error of the products in 8 bits, on the rows that were kept."""
    rows = np.concatenate(seen.rows)
    low, high = (
        min(0.0, float((seen.low / scale).min())),
        max(0.0, float((seen.high / scale).max())),
    )
    step = (high - low) / 255 or 1.0
    taken = np.clip(np.round((rows / scale - low) / step), 0, 255) * step + low
    scaled = weight * scale[:, None]
    stored = to_int8(scaled, 1, signed=True, narrow=False)
    error = taken @ (stored.values * stored.scale.astype(np.float64)) - rows @ weight
    return float(np.square(error).sum())
