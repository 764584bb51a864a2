"""Decides a choice from what its candidates measured: repeatable facts, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from edgepack.proof.budget import ROUNDING
from edgepack.types import Frozen

CLOSE = 1.02
"""Candidates whose worth differs by less count as equal, and the preference decides."""


class Contender(Frozen):
    """One candidate of a choice.

    Attributes:
        name: for the table.
        refused: why it could not be built; nothing else is known of it then.
        wrong: the gate on its answers that it fails.
        vetoed: what a clock said against it, where instructions cannot be counted.
        exceeds: the limit on size or work that it exceeds.
        bytes: of its model.
        instructions: of one inference; None where it was not counted.
    """

    name: str
    refused: str = ""
    wrong: str = ""
    vetoed: str = ""
    exceeds: str = ""
    bytes: int = 0
    instructions: int | None = None


class Decision(Frozen):
    """Which candidate is taken, and for each one the reason."""

    taken: int
    reasons: tuple[str, ...]


def choose(contenders: Sequence[Contender], most_slowdown: float) -> Decision:
    """Take the smallest and fastest candidate whose answers are right.

    The contenders stand in the order of preference; the last is the model as it is.

    1. Out is what could not be built, gives wrong answers, or executes over `most_slowdown` percent
       more instructions than the model as it is. The model itself is never out.
    2. What exceeds no limit on size or work comes before what does.
    3. Of the rest the one with the smallest product of size and instructions is taken, each as a
       share of the model's own; by size alone where one of them was not counted.
    4. Of those within `CLOSE` of it, the first in the order of preference.
    """
    plain = contenders[-1]
    against = [_against(one, plain, most_slowdown) for one in contenders[:-1]]
    left = [i for i, reason in enumerate(against) if not reason] + [len(contenders) - 1]
    within = [i for i in left if not contenders[i].exceeds] or left
    counted = all(contenders[i].instructions is not None for i in within)
    worths = {i: _worth(contenders[i], plain, counted) for i in within}
    taken = min(i for i in within if worths[i] <= min(worths.values()) * CLOSE)
    reasons = [*against, ""]
    for i in left:
        one = contenders[i]
        told = _told(one, plain, counted)
        if i == taken:
            reasons[i] = "nothing else was better" if one is plain else told
        elif i not in within:
            reasons[i] = one.exceeds
        else:
            winner = f"`{contenders[taken].name}`"
            better = "is preferred at that" if worths[i] <= worths[taken] * CLOSE else "is better"
            reasons[i] = f"{told}; {winner} {better}"
    return Decision(taken=taken, reasons=tuple(reasons))


def slower(one: Contender, plain: Contender, most_slowdown: float) -> str:
    """Say that a candidate executes more than the model as it is; nothing where it does not."""
    if one.instructions is None or not plain.instructions:
        return ""
    ratio = one.instructions / plain.instructions
    if 100 * (ratio - 1) <= most_slowdown + ROUNDING:
        return ""
    return f"slower: {ratio:.2f} times the instructions of `{plain.name}`"


def _against(one: Contender, plain: Contender, most_slowdown: float) -> str:
    return one.refused or one.wrong or one.vetoed or slower(one, plain, most_slowdown)


def _worth(one: Contender, plain: Contender, counted: bool) -> float:
    size = one.bytes / plain.bytes
    if not counted or not plain.instructions:
        return size
    assert one.instructions is not None
    return size * one.instructions / plain.instructions


def _told(one: Contender, plain: Contender, counted: bool) -> str:
    """Write what a candidate measured beside the model as it is."""
    if one is plain:
        return "the model as it is"
    size = f"{one.bytes / plain.bytes:.2f} times the size"
    if not counted or not plain.instructions or one.instructions is None:
        return f"{size} of `{plain.name}`; instructions were not counted"
    work = one.instructions / plain.instructions
    return f"{size} and {work:.2f} times the instructions of `{plain.name}`"
