"""A graph, data, a runner and a context of the smallest kind."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgepack.base import Context, StepRecord
from edgepack.types import Sample, SessionSettings, TensorSpec, Tolerance


def relu_proto() -> bytes:
    """Return ``y = max(x, 0)`` with any batch and any length."""
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length"])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString(deterministic=True)


def convolution_proto() -> bytes:
    """Return a convolution that x86 would store in a layout of its own."""
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 6, 6])
    weight = numpy_helper.from_array(np.ones((16, 16, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "convolution", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString(deterministic=True)


@dataclass(frozen=True)
class Relu:
    """Stands for a Graph."""

    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", "length")),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=("batch", "length")),)
    scheme = "float"
    tolerance = Tolerance(exact=True)

    weight = 0

    def write(self, path: Path) -> None:
        path.write_bytes(relu_proto())


@dataclass
class FakeRunner:
    opened: list[SessionSettings] = field(default_factory=list)
    fed: list[tuple[int, ...]] = field(default_factory=list)

    @contextmanager
    def open(self, graph, settings=None):
        self.opened.append(settings)
        yield self

    def run(self, inputs, outputs=None):
        assert outputs == ("y",)
        self.fed.append(inputs["x"].shape)
        return {"y": np.maximum(inputs["x"], 0)}


@dataclass
class FakeEvents:
    notes: list[str] = field(default_factory=list)
    decisions: list[dict] = field(default_factory=list)

    def progress(self, what, done, total): ...

    def note(self, text):
        self.notes.append(text)

    def decision(self, value):
        self.decisions.append(value)


@dataclass(frozen=True)
class FakeSamples:
    samples: tuple[Sample, ...]
    generated: bool = False
    digest: str = "ef" * 32

    def __len__(self):
        return len(self.samples)

    def __iter__(self):
        return iter(self.samples)


def lengths(*shape: int, generated: bool = False, fill: float | None = None) -> FakeSamples:
    """Return samples of these lengths, all different unless filled."""
    arrays = [
        np.full((1, n), i - 2.5 if fill is None else fill, np.float32) for i, n in enumerate(shape)
    ]
    return FakeSamples(tuple(Sample(({"x": a},)) for a in arrays), generated)


def context(work: Path, data=None, assets=()) -> Context:
    work.mkdir(exist_ok=True)
    return Context(
        work=work,
        seed=7,
        data={"evaluation": lengths(4, 4, 6)} if data is None else data,
        runner=FakeRunner(),
        events=FakeEvents(),
        assets=assets,
        lineage=(StepRecord(name="prune", version=1, options={"ratio": 0.5}),),
        facts={"edgepack": "0.1.0", "source": "ab" * 32, "data": {"evaluation": "ef" * 32}},
    )
