"""One way of a choice, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgepack.api.chain import Node
from edgepack.base import StepRecord
from edgepack.proof.budget import Measurements
from edgepack.proof.choose import Contender
from edgepack.registry import load_pass
from edgepack.report import Candidate

if TYPE_CHECKING:
    from edgepack.artifact import Artifact


@dataclass(frozen=True)
class Trial:
    """One way of a choice, tried.

    Attributes:
        label: what the table calls it.
        way: the pass with its options.
        steps: the whole plan, this way taken.
        before: steps that the way needs before it, beyond the plan's.
        nodes: the value after each step; nothing where it was refused.
        refused: why it could not be built.
        found: what this machine measured.
        size: bytes of the model.
        wrong: the gate on its answers that it fails.
        exceeds: the limit on size or work that it exceeds.
        instructions: counted for one inference.
        failed: what went wrong on the emulated processor.
        vetoed: what a clock said against it.
    """

    label: str
    way: StepRecord
    steps: tuple[StepRecord, ...]
    before: tuple[StepRecord, ...] = ()
    nodes: tuple[Node, ...] = ()
    refused: str = ""
    found: Measurements | None = None
    size: int = 0
    wrong: str = ""
    exceeds: str = ""
    instructions: int | None = None
    failed: str = ""
    vetoed: str = ""

    @property
    def stands(self) -> bool:
        """Whether nothing is known that speaks against it."""
        return not (self.refused or self.wrong or self.failed)

    @property
    def against(self) -> str:
        """What is known against it."""
        return self.refused or self.wrong or self.failed or self.vetoed

    @property
    def mendable(self) -> bool:
        """Whether there are repairs for what it does."""
        return bool(load_pass(self.way.name).model_validate(self.way.options).repairs())

    def contender(self) -> Contender:
        """Return what the decision looks at."""
        return Contender(
            name=self.label,
            refused=self.refused,
            wrong=self.wrong or self.failed,
            vetoed=self.vetoed,
            exceeds=self.exceeds,
            bytes=self.size,
            instructions=self.instructions,
        )

    def candidate(self, taken: bool, reason: str) -> Candidate:
        """Return the row of the report."""
        found = self.found
        return Candidate(
            scheme=self.label,
            chosen=taken,
            reason=reason,
            bytes=self.size or None,
            metric=found.metric.after if found and found.metric else None,
            cosine=found.fidelity.cosine if found and found.fidelity else None,
            instructions=self.instructions,
        )

    @property
    def artifact(self) -> Artifact:
        """What the way gives."""
        made: Artifact = self.nodes[-1].load()
        return made

    @property
    def idle(self) -> str:
        """Why the way left the model as it was; nothing where it did not."""
        step = self.nodes[self.place + 1].step  # the source is the first node
        if step is None or step.before != step.after:
            return ""
        return "; ".join(step.notes) or "it changes nothing"

    def narrower(self) -> Iterator[StepRecord]:
        """Yield lesser forms of the way."""
        one = load_pass(self.way.name).model_validate(self.way.options)
        for less in one.narrower(self.nodes[self.place].facts):
            options = less.model_dump(mode="json")
            yield StepRecord(name=less.name, version=less.version, options=options)

    @property
    def input(self) -> Node:
        """What the way takes."""
        return self.nodes[self.place]

    @property
    def place(self) -> int:
        """Where among the steps it is."""
        return self.steps.index(self.way)
