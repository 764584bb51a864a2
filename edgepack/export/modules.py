"""Finds the module from which on an exported graph no longer follows torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.base import Runner, Session
from edgepack.export.trace import Exported
from edgepack.graph.agreement import Agreement, agreement
from edgepack.graph.difference import TOGETHER, Difference
from edgepack.graph.prefix import exposed

if TYPE_CHECKING:
    import torch

    from edgepack.model import Model
    from edgepack.types import Array, Tensors

LAST = 3
"""Values of a module that are held against what it returned: mostly the last is it, but a module
may return an earlier one, or the exporter may have merged the last with what follows."""


def first_module(
    model: Model, exported: Exported, feed: Tensors, runner: Runner, limit: float
) -> Difference | None:
    """Return the first module, in order of execution, whose output the graph does not have.

    A module is compared where the graph has a value of its output's shape among its last ones;
    what is called more than once is compared at its first call.

    Args:
        model: what is right.
        exported: the graph, and the modules that its values are from.
        feed: inputs on which the two differ.
        runner: runs the graph.
        limit: relative difference from which on a module differs.
    """
    returned = _outputs(model, feed)
    made: dict[str, list[str]] = {}
    for value, modules in exported.modules.items():
        for module in modules:
            made.setdefault(module, []).append(value)
    pairs = {name: made[name][-LAST:] for name in returned if name in made}
    names = list(dict.fromkeys(value for values in pairs.values() for value in values))
    with runner.open(exposed(exported.graph, names)) as session:
        found = dict(_closest(session, feed, returned, pairs))
    order = list(found)
    for place, name in enumerate(order):
        if not found[name].relative <= limit:
            return Difference(
                tensor=pairs[name][-1],
                node=name,
                operator=type(model.module.get_submodule(name)).__name__,
                relative=found[name].relative,
                cosine=found[name].cosine,
                agreeing=place,
                compared=len(order),
            )
    return None


def _closest(
    session: Session,
    feed: Tensors,
    returned: Mapping[str, Array],
    pairs: Mapping[str, Sequence[str]],
) -> Iterator[tuple[str, Agreement]]:
    """Yield how each module's output agrees with the closest of its values in the graph."""
    order = list(pairs)
    for start in range(0, len(order), TOGETHER):
        group = order[start : start + TOGETHER]
        wanted = tuple(dict.fromkeys(value for name in group for value in pairs[name]))
        values = session.run(feed, wanted)
        for name in group:
            expected = returned[name]
            like = [values[v] for v in pairs[name] if np.shape(values[v]) == expected.shape]
            if like:
                agreed = [agreement({"": expected}, {"": value}) for value in like]
                yield name, min(agreed, key=lambda one: one.relative)


def _outputs(model: Model, feed: Tensors) -> dict[str, Array]:
    """Run torch and return each named module's output at its first call, in order of execution."""
    found: dict[str, Array] = {}
    with _listening(model.module, found):
        model.run(feed)
    return found


@contextmanager
def _listening(module: torch.nn.Module, found: dict[str, Array]) -> Iterator[None]:
    import torch

    def listen(name: str) -> Any:
        def hear(_: torch.nn.Module, __: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) and output else output
            if name not in found and torch.is_tensor(first) and first.is_floating_point():
                found[name] = first.detach().numpy().copy()

        return hear

    hooks = [
        part.register_forward_hook(listen(name)) for name, part in module.named_modules() if name
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
