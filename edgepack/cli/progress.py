"""Progress on standard error: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from edgepack.cli import render

if TYPE_CHECKING:
    from edgepack.plan import Plan


class Terminal:
    """Draws events as they come; use as a context manager.

    Args:
        verbosity: -1 quiet, 0 steps and notes, 1 decisions too.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self._console = render.console(stderr=True)
        self._verbosity = verbosity
        self._began: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        if self._console.is_terminal and verbosity >= 0:
            self._bars = Progress(
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn("{task.description:<14}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
            )

    def progress(self, what: str, done: int, total: int) -> None:
        """Draw the bar of `what`, or write a line when it begins and when it ends."""
        if self._verbosity < 0:
            return
        if self._bars is not None:
            if done == 0 or what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total)
            self._bars.update(self._tasks[what], completed=done, total=total)
        elif what not in self._began:
            self._began[what] = time.monotonic()
            self._console.print(f"{what} ...")
        elif done == total:
            seconds = time.monotonic() - self._began.pop(what)
            self._console.print(f"{what} done in {seconds:.1f} s")

    def figures(self, what: str, values: Mapping[str, float]) -> None:
        """Write figures behind the bar of `what`, or as a line."""
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._verbosity < 0:
            return
        if self._bars is not None and what in self._tasks:
            self._bars.update(self._tasks[what], description=f"{what} ({told})")
        else:
            self._console.print(f"{what}: {told}", markup=False)

    def plan(self, plan: Plan) -> None:
        """Write the plan before it runs."""
        render.plan_text(plan, self._console)

    def note(self, text: str) -> None:
        """Write one sentence."""
        if self._verbosity >= 0:
            self._console.print(f"note: {text}", markup=False)

    def decision(self, value: BaseModel | Mapping[str, Any]) -> None:
        """Write a decision, if the user wants to see them."""
        if self._verbosity > 0:
            plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else dict(value)
            for key, item in plain.items():
                self._console.print(f"  {key}: {item}", markup=False)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
