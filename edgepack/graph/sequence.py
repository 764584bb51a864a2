"""Runs a sample through a session: run after run, with the state that a model hands itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgepack.base import Session
from edgepack.errors import UsageError, did_you_mean
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.types import Array, Tensors


def answers(
    session: Session, sample: Sample, outputs: tuple[str, ...] | None = None
) -> Iterator[tuple[Tensors, dict[str, Array]]]:
    """Yield what each run of a sample was fed, and what it answered.

    The inputs that `sample.state` names take the output of the run before; the first run takes
    them as the sample gives them.

    Args:
        session: the loaded graph.
        sample: its runs are fed in their order.
        outputs: names to answer; all for None. Outputs that carry the state are fetched as well.

    Raises:
        UsageError: E234 where the model does not have an output that carries the state.
        ModelError: as the session does.
    """
    carried: dict[str, Array] = {}
    wanted = None if outputs is None else tuple(dict.fromkeys((*outputs, *sample.state.values())))
    for run in sample.inputs:
        fed = {**run, **carried}
        found = session.run(fed, wanted)
        if lost := sorted(set(sample.state.values()) - set(found)):
            raise UsageError(
                "E234",
                f"`[model.state]` takes the output `{lost[0]}`, which the model does not have",
                fix=did_you_mean(lost[0], found),
            )
        carried = {taken: found[given] for taken, given in sample.state.items()}
        yield fed, found
