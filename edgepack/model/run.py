"""Runs torch modules on arrays, and measures what they give."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgepack.errors import ModelError
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.types import Array, Tensors


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, which is fastest for one small input; undo it afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Seed torch, take its deterministic algorithms and one thread; undo all of it afterwards.

    Sums over several threads depend on how many there are: one thread gives the same bits on every
    machine of a kind.
    """
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)


def tensors_of(arrays: Sequence[Array]) -> tuple[torch.Tensor, ...]:
    """Return copies of arrays as tensors."""
    return tuple(torch.from_numpy(np.array(array)) for array in arrays)


def answers(module: torch.nn.Module, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Feed arrays in order and return the outputs in order."""
    with torch.no_grad():
        given = module(*tensors_of(arrays))
    outputs = given if isinstance(given, tuple | list) else (given,)
    for output in outputs:
        if not torch.is_tensor(output):
            raise TypeError(f"it gives {type(output).__name__}, which is no tensor")
    return tuple(output.numpy() for output in outputs)


def multiply_adds(module: torch.nn.Module, arrays: Sequence[Array]) -> int:
    """Count the multiply-adds of convolutions and matrix products for one input."""
    with FlopCounterMode(display=False) as counter:
        answers(module, arrays)
    return int(counter.get_total_flops()) // 2


def resize(
    inputs: tuple[TensorSpec, ...], example: Tensors, sizes: Mapping[str, int], seed: int
) -> dict[str, Array]:
    """Repeat an example along its dynamic axes; floats become standard normal numbers."""
    made = {}
    for spec in inputs:
        array = np.asarray(example[spec.name])
        for place, axis in enumerate(spec.shape):
            if isinstance(axis, str):
                length = array.shape[place]
                array = array.take(np.arange(sizes.get(axis, length)) % length, axis=place)
        if array.dtype.kind == "f":
            rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
            array = rng.standard_normal(array.shape).astype(array.dtype)
        made[spec.name] = array
    return made


def measure_outputs(
    module: torch.nn.Module,
    inputs: tuple[TensorSpec, ...],
    example: Tensors,
    names: tuple[str, ...] | None,
) -> tuple[TensorSpec, ...]:
    """Describe what a module gives; an axis that follows a dynamic axis bears its name.

    Raises:
        ModelError: E433 when it does not run, or gives something that is no tensor.
    """
    plain = _try(module, inputs, example)
    names = names or (
        ("output",) if len(plain) == 1 else tuple(f"output_{i}" for i in range(len(plain)))
    )
    shapes: list[list[int | str]] = [list(array.shape) for array in plain]
    for axis, size in dynamic_axes(inputs, example).items():
        grown = _try(module, inputs, resize(inputs, example, {axis: size + 1}, 0))
        for shape, before, after in zip(shapes, plain, grown, strict=True):
            for place, (was, now) in enumerate(zip(before.shape, after.shape, strict=True)):
                if was != now:
                    shape[place] = axis
    return tuple(
        TensorSpec(name=name, dtype=array.dtype.name, shape=tuple(shape))
        for name, array, shape in zip(names, plain, shapes, strict=True)
    )


def dynamic_axes(inputs: tuple[TensorSpec, ...], example: Tensors) -> dict[str, int]:
    """Return the example's sizes of the dynamic axes."""
    pairs = [(spec.shape, np.shape(example[spec.name])) for spec in inputs]
    return {
        axis: int(size)
        for shape, sizes in pairs
        for axis, size in zip(shape, sizes, strict=True)
        if isinstance(axis, str)
    }


def _try(
    module: torch.nn.Module, inputs: tuple[TensorSpec, ...], feed: Tensors
) -> tuple[Array, ...]:
    shapes = ", ".join(f"{s.name}: {list(np.shape(feed[s.name]))}" for s in inputs)
    try:
        return answers(module, [feed[spec.name] for spec in inputs])
    except Exception as problem:  # whatever a user's module raises
        raise ModelError(
            "E433",
            f"the model does not run on {shapes}",
            why=f"{type(problem).__name__}: {problem}".splitlines()[0],
            fix="give inputs on which it runs for any batch, and return tensors or a tuple of them",
        ) from problem
