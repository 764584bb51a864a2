"""Asks and times the candidates of one case, interleaved in rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgepack.graph.agreement import cosine
from peers.candidates import Asked, Candidate
from peers.cases import Case, Inputs
from peers.environment import Failed

WARM_UP = 3
ROUNDS = {1: 25, 2: 10}
"""Rounds by threads."""


@dataclass
class Measured:
    """What is known of one candidate.

    Attributes:
        nanoseconds: by question and threads: of the processor for one thread, else of the clock.
        cosines: to the float model, an asked input each; `padded` those of padded batches.
        right: labels told.
        memory: peak resident bytes with one thread, after all was asked.
    """

    candidate: Candidate
    error: str = ""
    nanoseconds: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    cosines: list[float] = field(default_factory=list)
    padded: list[float] = field(default_factory=list)
    right: int = 0
    memory: int = 0

    def median(self, question: str, threads: int = 1) -> float:
        """Return the median seconds, or infinity where it was not timed."""
        times = self.nanoseconds.get((question, threads))
        return statistics.median(times) / 1e9 if times else float("inf")


def measured(case: Case, candidates: Sequence[Candidate], work: Path) -> list[Measured]:
    """Ask each candidate everything, then time all in rounds, with one thread and with two."""
    found = [Measured(one, error=one.error) for one in candidates]
    questions = {name: _written(work, name, inputs) for name, inputs in case.timed.items()}
    for threads, rounds in ROUNDS.items():
        with ExitStack() as stack:
            loaded = []
            for one in found:
                if one.error:
                    continue
                try:
                    asked = stack.enter_context(closing(Asked(one.candidate, threads)))
                    loaded.append((one, asked))
                except Failed as problem:
                    one.error = str(problem)
            if threads == 1:
                _compare(case, loaded, work)
            for name, file in questions.items():
                _time(name, file, threads, rounds, loaded)
            if threads == 1:
                for one, asked in loaded:
                    one.memory = 0 if one.error else asked.memory()
    return found


def _time(
    name: str, file: Path, threads: int, rounds: int, loaded: list[tuple[Measured, Asked]]
) -> None:
    """Run every candidate once a round."""
    for turn in range(WARM_UP + rounds):
        for one, asked in loaded:
            times = one.nanoseconds.setdefault((name, threads), [])
            if one.error or (turn and len(times) == 0 and turn > WARM_UP):
                continue
            try:
                processor, clock = asked.time(file)
            except Failed:
                continue  # a model of one fixed shape does not take the others
            if turn >= WARM_UP:
                times.append(processor if threads == 1 else clock)


def _compare(case: Case, loaded: list[tuple[Measured, Asked]], work: Path) -> None:
    """Hold every candidate's answers against those of the first, the float model."""
    files = [_written(work, f"asked-{place}", one) for place, one in enumerate(case.asked)]
    right = [loaded[0][1].answer(file) for file in files]
    for one, asked in loaded:
        try:
            for place, (inputs, want, file) in enumerate(
                zip(case.asked, right, files, strict=True)
            ):
                got = asked.answer(file)
                if case.labels:
                    one.right += int(got.argmax()) == case.labels[place]
                near = _cosines(inputs, want, got)
                (one.padded if len(near) > 1 else one.cosines).extend(near)
        except Failed as problem:
            if not one.cosines:
                one.error = f"it answers no other shape: {problem}"[:160]


def _cosines(inputs: Inputs, want: np.ndarray, got: np.ndarray) -> list[float]:
    """Return the cosine of each sample, without the tokens that are padding."""
    if want.shape != got.shape:
        raise Failed(f"its answer has the shape {got.shape}, not {want.shape}")
    mask = inputs.get("attention_mask")
    pairs = zip(want.astype(np.float64), got.astype(np.float64), strict=True)
    kept = [
        (w[mask[row] > 0], g[mask[row] > 0]) if mask is not None else (w, g)
        for row, (w, g) in enumerate(pairs)
    ]
    return [cosine(w.ravel(), g.ravel()) for w, g in kept]


def _written(work: Path, name: str, inputs: Inputs) -> Path:
    path = work / f"{name.replace(' ', '-')}.npz"
    np.savez(path, **inputs)
    return path
