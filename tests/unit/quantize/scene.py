"""Small graphs, samples and a context that remembers, for the tests of quantize."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepack.base import Context
from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.types import Sample

DRAW = np.random.default_rng(0)


@dataclass
class Data:
    """Samples in memory."""

    items: list[Sample]
    generated: bool = False
    digest: str = "0"
    served: int = 0

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Sample]:
        for item in self.items:
            self.served += 1
            yield item


@dataclass
class Memory:
    """Events that are remembered."""

    decided: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    steps: list[tuple[str, int, int]] = field(default_factory=list)

    def progress(self, what: str, done: int, total: int) -> None:
        self.steps.append((what, done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def decision(self, value: Any) -> None:
        self.decided.update(value if isinstance(value, dict) else value.model_dump())


def context(work: Path, data: Data | None = None) -> Context:
    return Context(
        work=work,
        seed=0,
        data={} if data is None else {"calibration": data},
        runner=ChildRunner(),
        events=Memory(),
    )


def tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name: str, *shape: int, scale: float = 0.5) -> onnx.TensorProto:
    return numpy_helper.from_array(DRAW.normal(0, scale, shape).astype(np.float32), name)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "scene", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="scene")


def convnet() -> onnx.ModelProto:
    """Convolution, depthwise convolution with Clip, residual, pools, Gemm; one dead channel."""
    first = weight("w1", 8, 3, 3, 3)
    dead = np.array(numpy_helper.to_array(first))
    dead[2] = 0
    node = helper.make_node
    pads = [1, 1, 1, 1]
    return model(
        [
            node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=pads),
            node("Relu", ["c1"], ["r1"], name="relu"),
            node("Conv", ["r1", "w2"], ["c2"], name="depthwise", pads=pads, group=8),
            node("Clip", ["c2", "zero", "six"], ["k2"], name="clip"),
            node("Add", ["r1", "k2"], ["a2"], name="residual"),
            node("MaxPool", ["a2"], ["p2"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["p2"], ["g2"], name="mean"),
            node("Flatten", ["g2"], ["f2"], name="flatten"),
            node("Gemm", ["f2", "w3", "b3"], ["y"], name="head", transB=1),
        ],
        [tensor("x", "n", 3, 8, 8)],
        [tensor("y", "n", 5)],
        [
            numpy_helper.from_array(dead, "w1"),
            weight("b1", 8),
            weight("w2", 8, 1, 3, 3),
            weight("w3", 5, 8),
            weight("b3", 5),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(6), "six"),
        ],
    )


def pictures(count: int = 4) -> Data:
    draws = (DRAW.normal(0, 1, (1, 3, 8, 8)).astype(np.float32) for _ in range(count))
    return Data([Sample(inputs=({"x": x},)) for x in draws])


def encoder() -> onnx.ModelProto:
    """Embedding, two products that share an input, one of two activations, softmax, Gemm."""
    node = helper.make_node
    return model(
        [
            node("Gather", ["table", "ids"], ["e"], name="embed"),
            node("MatMul", ["e", "wq"], ["q"], name="query"),
            node("MatMul", ["e", "wk"], ["k"], name="key"),
            node("Transpose", ["k"], ["kt"], name="turn", perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["s"], name="scores"),
            node("Softmax", ["s"], ["a"], name="attend"),
            node("MatMul", ["a", "e"], ["m"], name="mix"),
            node("ReduceMean", ["m", "axes"], ["p"], name="mean", keepdims=0),
            node("Gemm", ["p", "wo", "bo"], ["y"], name="head", transB=1),
        ],
        [tensor("ids", "n", "t", kind=TensorProto.INT64)],
        [tensor("y", "n", 7)],
        [
            weight("table", 2048, 32, scale=1.0),
            weight("wq", 32, 32, scale=0.1),
            weight("wk", 32, 32, scale=0.1),
            weight("wo", 7, 32),
            weight("bo", 7),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )


def sentences(count: int = 4) -> Data:
    """Sentences of different lengths."""
    draws = (DRAW.integers(0, 2048, (1, 3 + i)) for i in range(count))
    return Data([Sample(inputs=({"ids": ids},)) for ids in draws])


def graph(proto: onnx.ModelProto) -> Graph:
    return Graph.from_proto(proto)


def kinds(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]
