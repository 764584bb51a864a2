"""Runs graphs in a child process: the only way that edgepack runs ONNX."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.child import ChildError, Limits, Pipe
from edgepack.errors import ModelError
from edgepack.types import SessionSettings

if TYPE_CHECKING:
    from edgepack.graph import Graph
    from edgepack.types import Array, Tensors

AGENT = Path(__file__).parent.parent / "devices" / "agent.py"
_NO_MEMORY = ("bad_alloc", "Failed to allocate", "MemoryError")


class ChildRunner:
    """Loads each graph in a child process of its own, one thread, telemetry off.

    Args:
        limits: for one answer of the child, loading included.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits(seconds=300.0)

    @contextmanager
    def open(
        self, graph: Graph | Path, settings: SessionSettings | None = None
    ) -> Iterator[ChildSession]:
        """Load a graph, or a file of ours, and yield its session.

        Raises:
            ModelError: E420 when the runtime refuses the graph, E421 when it crashes, E422 when it
                exceeds its time, E423 when it exceeds its memory.
        """
        with tempfile.TemporaryDirectory(prefix="edgepack-run-") as work:
            if isinstance(graph, Path):
                name, path = graph.name, graph.resolve()
            else:
                name, path = graph.name, Path(work) / "model.onnx"
                graph.save(path.parent)
            # -P: a file beside the agent must not shadow a module.
            with Pipe([sys.executable, "-P", AGENT, "serve"], self._limits, cwd=Path(work)) as pipe:
                session = ChildSession(pipe, name)
                session.load(path, settings or SessionSettings())
                yield session


class ChildSession:
    """A graph that is loaded in a child and answers.

    Attributes:
        runtime: the version of ONNX Runtime that answers.
        outputs: names of all that it can answer.
    """

    def __init__(self, pipe: Pipe, name: str) -> None:
        self._pipe = pipe
        self._name = name
        self._turn = threading.Lock()
        self.runtime = ""
        self.outputs: tuple[str, ...] = ()

    def load(self, path: Path, settings: SessionSettings) -> None:
        """Make the child load a file; `ChildRunner.open` does."""
        header = {"op": "load", "model": str(path), "session": settings.model_dump(mode="json")}
        answer = self._ask(header, "E420", f"ONNX Runtime cannot load `{self._name}`")
        self.runtime = answer["runtime"]
        self.outputs = tuple(answer["outputs"])

    def run(self, inputs: Tensors, outputs: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Feed named tensors and return the named outputs, or all of them.

        Raises:
            ModelError: E424 when the runtime refuses these inputs or fails; E421 to E423 as `open`.
        """
        arrays = {name: np.asarray(value, order="C") for name, value in inputs.items()}
        header = {
            "op": "run",
            "inputs": [_describe(name, array) for name, array in arrays.items()],
            "outputs": list(outputs or ()),
        }
        payload = [array.view(np.uint8).data for array in map(np.ravel, arrays.values())]
        shapes = ", ".join(f"{n}: {a.dtype}{list(a.shape)}" for n, a in arrays.items())
        with self._turn:  # two threads' questions would get each other's answers
            answer = self._ask(header, "E424", f"`{self._name}` does not run on {shapes}", payload)
            return {t["name"]: self._tensor(t) for t in answer["outputs"]}

    def _tensor(self, header: Mapping[str, Any]) -> Array:
        try:
            data = self._pipe.take(header["bytes"])
        except ChildError as problem:
            raise _failure(self._name, problem) from problem
        return np.frombuffer(data, header["dtype"]).reshape(header["shape"])

    def _ask(
        self, header: Mapping[str, Any], code: str, what: str, payload: Sequence[memoryview] = ()
    ) -> Any:
        try:
            answer = self._pipe.ask(header, payload)
        except ChildError as problem:
            raise _failure(self._name, problem) from problem
        if "error" not in answer:
            return answer
        if any(word in answer["error"] for word in _NO_MEMORY):
            raise _failure(self._name, ChildError("memory", answer["error"]))
        raise ModelError(
            code,
            what,
            why=answer["error"],
            fix="check the operators, types and shapes that the message names",
        )


def _describe(name: str, array: Array) -> dict[str, Any]:
    if array.dtype.kind not in "biuf":
        raise ModelError(
            "E424",
            f"input `{name}` has the type {array.dtype}",
            fix="feed booleans, integers or floats; text is tokenised before it reaches a graph",
        )
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "bytes": array.nbytes,
    }


def _failure(name: str, problem: ChildError) -> ModelError:
    """Name a child's end in terms of the model that it ran."""
    code, what, fix = {
        "deadline": (
            "E422",
            f"`{name}` does not come to an end",
            "look for a Loop whose condition never turns false, or feed smaller inputs",
        ),
        "memory": (
            "E423",
            f"`{name}` needs more memory than it is given",
            "feed smaller inputs or choose a smaller model",
        ),
    }.get(
        problem.reason,
        (
            "E421",
            f"ONNX Runtime crashes on `{name}`",
            "simplify the model, or try another version of onnxruntime",
        ),
    )
    return ModelError(code, what, why=problem.detail, fix=fix)
