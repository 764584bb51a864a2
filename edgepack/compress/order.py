"""Which orders of compression make no sense, and why; the plan refuses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgepack.base import StepRecord
from edgepack.errors import UsageError

Options = Mapping[str, Any]

PREPARES: Mapping[str, tuple[str, ...]] = {
    "layer-drop": ("prune-layers",),
    "sparsify": ("prune", "prune-weights"),
}
"""Steps that only prepare a later one; without one of those after them they are for nothing."""


@dataclass(frozen=True)
class Clash:
    """A step that another one before it makes senseless, or that makes that one so.

    Attributes:
        first: the earlier step.
        then: the later ones that it does not go with.
        breaks: which of the two is for nothing.
        why: the reason.
        fix: what to do instead.
        where: whether it holds for the options of the two.
    """

    first: str
    then: tuple[str, ...]
    breaks: Literal["first", "then"]
    why: str
    fix: str
    where: Callable[[Options, Options], bool] = lambda *_: True


TRAINING = ("distil", "finetune", "layer-drop", "sparsify")
CLASHES = (
    Clash(
        "prune-weights",
        TRAINING,
        "first",
        "training fills the zeros again",
        "put `prune-weights` last, or let `finetune` have `keep_zeros = true`",
        lambda _, then: not then.get("keep_zeros"),
    ),
    Clash(
        "prune-weights",
        ("low-rank",),
        "first",
        "the two thin layers in the place of one have no zeros",
        "put `prune-weights` after `low-rank`",
    ),
    Clash(
        "share",
        (*TRAINING, "low-rank"),
        "first",
        "weights leave the values of their codebook again",
        "let `share` with `clusters` be a step of its own, after the others",
        lambda first, _: bool(first["clusters"]),
    ),
    Clash(
        "distil",
        ("distil",),
        "first",
        "the second begins anew with the same student",
        "name another student, or leave `student` out: the incoming model learns on",
        lambda first, then: bool(then["student"]) and first["student"] == then["student"],
    ),
    Clash(
        "low-rank",
        ("prune-heads",),
        "then",
        "queries, keys and values are pairs of thin layers, which have no heads to cut",
        "put `prune-heads` before `low-rank`",
        lambda first, _: not first["keep"],
    ),
    Clash(
        "qat",
        (
            *(*TRAINING, "low-rank", "prune", "prune-heads", "prune-layers", "prune-weights"),
            *("recalibrate", "replace", "share", "qat"),
        ),
        "first",
        "weights leave the levels that they were trained on",
        "put `qat` last of the steps on the torch model",
    ),
    Clash(
        "qat",
        ("equalise", "smooth"),
        "first",
        "it scales channels, and weights leave the levels that they were trained on",
        "leave it out: `qat` learns scales itself",
    ),
)
"""Measured: other pairs of steps go together in either order."""


def require_sense(steps: Sequence[StepRecord], where: Callable[[int], str]) -> None:
    """Refuse the first step that makes no sense where it stands.

    What is undone and then done again is no fault: so zeros grow in rounds.

    Args:
        steps: in their order.
        where: says where in the recipe the step of an index stands.

    Raises:
        UsageError: E254 for a preparation that nothing follows, E255 for a step that undoes an
            earlier one, E256 for one that an earlier one leaves nothing to work on.
    """
    for place, step in enumerate(steps):
        rest = steps[place + 1 :]
        wanted = PREPARES.get(step.name, ())
        if wanted and not any(later.name in wanted for later in rest):
            names = " or ".join(f"`{name}`" for name in wanted)
            raise UsageError(
                "E254",
                f"`{step.name}` prepares {names}, and none follows",
                where=where(place),
                why="it removes nothing itself",
                fix=f"add {names} after it, or leave it out",
            )
        for further, later in enumerate(rest, place + 1):
            clash = _clash(step, later)
            if clash is None:
                continue
            if clash.breaks == "then":
                raise UsageError(
                    "E256",
                    f"`{later.name}` after `{step.name}` finds nothing to work on",
                    where=where(further),
                    why=clash.why,
                    fix=clash.fix,
                )
            if not any(again.name == step.name for again in steps[further + 1 :]):
                raise UsageError(
                    "E255",
                    f"`{later.name}` undoes the `{step.name}` before it",
                    where=where(further),
                    why=clash.why,
                    fix=clash.fix,
                )


def _clash(first: StepRecord, then: StepRecord) -> Clash | None:
    return next(
        (
            clash
            for clash in CLASHES
            if clash.first == first.name
            and then.name in clash.then
            and clash.where(first.options, then.options)
        ),
        None,
    )
