"""Damaged ONNX files are refused with a reason, or pass and cannot hurt the runtime's client."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgepack.child import Limits, Pipe
from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.graph.examples import example_inputs
from edgepack.graph.runner import AGENT, ChildSession
from edgepack.types import SessionSettings

HERE = Path(__file__).parent


def judged(folder: Path, count: int) -> dict[int, str]:
    """What the gate makes of each damaged file; a process that dies is started behind its file."""
    told: dict[int, str] = {}
    while len(told) < count:
        script = [sys.executable, HERE / "mutate.py", folder, str(len(told)), str(count)]
        done = subprocess.run(script, capture_output=True, text=True, timeout=300, check=False)
        told.update(json.loads(line) for line in done.stdout.splitlines())
        if len(told) < count:
            assert done.returncode < 0, done.stderr
            told[len(told)] = signal.Signals(-done.returncode).name
    return told


def run_all(paths: list[Path]) -> Counter[str]:
    """Load and run what passed, in one child that is replaced where it dies."""
    told: Counter[str] = Counter()
    waiting = list(paths)
    while waiting:
        command = [sys.executable, "-P", AGENT, "serve"]
        with Pipe(command, Limits(seconds=5.0, memory=8 << 30)) as pipe:
            while waiting:
                path = waiting.pop()
                graph = Graph.from_proto(onnx.load(path))
                try:
                    session = ChildSession(pipe, path.stem)
                    session.load(path, SessionSettings())
                    session.run(example_inputs(graph.inputs, 0))
                    told["ran"] += 1
                except ModelError as problem:
                    told[problem.code] += 1
                    if problem.code not in {"E420", "E424"}:
                        break  # the child is gone
    return told


def holds(folder: Path, count: int) -> None:
    told = judged(folder, count)
    bugs = {n: text for n, text in told.items() if "Traceback" in text}
    assert not bugs, "\n".join(f"{n}: {text}" for n, text in list(bugs.items())[:5])
    assert "SIGPROF" not in told.values(), [n for n, t in told.items() if t == "SIGPROF"]
    codes = Counter(told.values())
    # Damage must reach all layers: files that are none, models that lie, and some that pass.
    assert {"ok", "E401", "E405"} <= codes.keys()
    assert sum(n for code, n in codes.items() if code.startswith("SIG")) <= count // 50, codes
    passed = sorted(folder.glob("[0-9]*.onnx"))
    ran = run_all(passed)
    assert sum(ran.values()) == len(passed) == codes["ok"]
    assert ran["ran"] > 0


def test_sixty_damaged_models(tmp_path):
    holds(tmp_path, 60)


@pytest.mark.full
def test_five_hundred_damaged_models(tmp_path):
    holds(tmp_path, 500)


def test_mutations_are_the_same_each_time(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    import mutate

    assert [mutate.mutated(n) for n in range(40)] == [mutate.mutated(n) for n in range(40)]
    assert len({mutate.mutated(n) for n in range(40)}) == 40
    assert np.mean([mutate.mutated(n) not in mutate.SEEDS for n in range(40)]) > 0.9
