"""Golden vectors: a few real inputs and the outputs that are right for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.artifact.manifest import ITEM_BYTES, SHAPES, VECTORS, Golden, Tensor, Vector
from edgepack.errors import ModelError
from edgepack.graph.sequence import answers
from edgepack.types import EXACT_INT8, Samples, SessionSettings, TensorSpec

if TYPE_CHECKING:
    from edgepack.base import Context, Session
    from edgepack.graph import Graph
    from edgepack.types import Array

LOOKED_AT = 256
"""Runs that are looked through for small shapes."""
MOST, FREE, SHARE = 16 << 20, 1 << 16, 4
"""Bytes of all golden files together: a quarter of the model's, yet `FREE` always and never over
`MOST`. The first vector is kept even where it is larger."""


@dataclass(frozen=True)
class Vectors:
    """The golden vectors as the manifest tells of them, and their files."""

    golden: Golden
    files: dict[str, bytes]


def room(model: int) -> int:
    """Return how many bytes of golden files a model of so many bytes may have beside it."""
    return min(MOST, max(FREE, model // SHARE))


def make_vectors(
    graph: Graph, context: Context, settings: SessionSettings, budget: int = MOST
) -> Vectors:
    """Choose inputs from the user's data and compute what the graph answers, within a budget.

    The evaluation data comes before the calibration data, and what a user gave before what was
    made up. The session is exact: one thread, the CPU, and no saturating int8 products.

    Raises:
        ModelError: E480 when data and graph do not fit, E481 for tensors of strings; what the
            runner raises.
    """
    exact = settings.model_copy(
        update={
            "threads": 1,
            "providers": ("CPUExecutionProvider",),
            "entries": {**settings.entries, **EXACT_INT8},
        }
    )
    samples = _source(context)
    vectors: list[Vector] = []
    files: dict[str, bytes] = {}
    if samples is not None:
        with context.runner.open(graph, exact) as session:
            for inputs in choose(_runs(samples, graph.inputs, session)):
                outputs = session.run(inputs, tuple(spec.name for spec in graph.outputs))
                arrays = [*inputs.values(), *(outputs[spec.name] for spec in graph.outputs)]
                vector = Vector(
                    inputs=_tensors(graph.inputs, inputs), outputs=_tensors(graph.outputs, outputs)
                )
                size = sum(map(len, files.values())) + sum(a.nbytes for a in arrays)
                if files and size > budget:
                    break
                names = vector.files(len(vectors))
                files |= {n: _raw(array) for n, array in zip(names, arrays, strict=True)}
                vectors.append(vector)
    golden = Golden(
        generated=samples is not None and samples.generated,
        runtime=f"onnxruntime {version('onnxruntime')}",
        session=exact,
        vectors=tuple(vectors),
    )
    return Vectors(golden, files)


def choose(runs: Iterable[dict[str, Array]]) -> list[dict[str, Array]]:
    """Return up to eight distinct inputs of up to three shapes, the smallest shapes first.

    Emulation is slow, so small shapes come first; shapes alternate, so that cutting the list short
    keeps all of them. No more than three times eight inputs are held at a time.
    """
    by_shape: dict[tuple[tuple[int, ...], ...], list[dict[str, Array]]] = {}
    seen: set[bytes] = set()
    for inputs in islice(runs, LOOKED_AT):
        shape = tuple(array.shape for array in inputs.values())
        by_shape.setdefault(shape, [])
        if len(by_shape) > SHAPES:
            # only smaller shapes push one out, so it cannot come back
            by_shape.pop(max(by_shape, key=_size))
        group = by_shape.get(shape)
        if group is None or len(group) == VECTORS:
            continue
        content = _digest(inputs)
        if content not in seen:
            seen.add(content)
            group.append(inputs)
    turns = zip_longest(*(by_shape[shape] for shape in sorted(by_shape, key=_size)))
    return [inputs for inputs in chain(*turns) if inputs is not None][:VECTORS]


def _size(shapes: tuple[tuple[int, ...], ...]) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Order shapes by their elements, and equal ones by their axes."""
    return sum(map(_items, shapes)), shapes


def _digest(inputs: dict[str, Array]) -> bytes:
    digest = hashlib.sha256()
    for array in inputs.values():
        digest.update(_raw(array))
    return digest.digest()


def _source(context: Context) -> Samples | None:
    at_hand = [
        context.data[split] for split in ("evaluation", "calibration") if split in context.data
    ]
    given = sorted((s for s in at_hand if len(s)), key=lambda samples: samples.generated)
    return given[0] if given else None


def _runs(
    samples: Samples, specs: tuple[TensorSpec, ...], session: Session
) -> Iterator[dict[str, Array]]:
    """Yield each run's tensors in the graph's order, with the state that the run before left."""
    for sample in samples:
        fed = (run for run, _ in answers(session, sample, ())) if sample.state else sample.inputs
        for run in fed:
            if lost := [spec.name for spec in specs if spec.name not in run]:
                raise _unfit(f"the data has no input `{lost[0]}`; it has {', '.join(sorted(run))}")
            yield {spec.name: np.asarray(run[spec.name]) for spec in specs}


def _tensors(specs: tuple[TensorSpec, ...], arrays: Any) -> tuple[Tensor, ...]:
    tensors = []
    for spec in specs:
        array = arrays[spec.name]
        if spec.dtype not in ITEM_BYTES:
            raise ModelError(
                "E481",
                f"`{spec.name}` holds strings, which golden vectors cannot",
                fix="cut the model where its tensors are numbers",
            )
        if array.dtype.name != spec.dtype:
            raise _unfit(f"`{spec.name}` is declared {spec.dtype} and is {array.dtype.name}")
        tensors.append(Tensor(name=spec.name, dtype=spec.dtype, shape=array.shape))
    return tuple(tensors)


def _raw(array: Array) -> bytes:
    """Return the bytes in C order, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _items(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _unfit(why: str) -> ModelError:
    return ModelError(
        "E480",
        "the data does not fit the graph's interface",
        why=why,
        fix="give the data the names and types that the graph declares",
    )
