"""Leaves a model's answers unclipped where that costs nothing.

What calibration saw of an answer says little of the next one: of a classifier's scores the largest
are the rarest, two of them clipped to the same level are a tie, and the first wins. ONNX Runtime's
integer Gemm and MatMul give their sums in float as readily as in bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

PRODUCTS = {"Gemm", "MatMul"}


def answer_in_float(proto: onnx.ModelProto) -> None:
    """Take QuantizeLinear and DequantizeLinear off outputs that a product makes, in place."""
    graph = proto.graph
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for name in (name for node in graph.node for name in node.input):
        readers[name] = readers.get(name, 0) + 1
    gone = set()
    for value in graph.output:
        chain = [value.name]
        for operator in ("DequantizeLinear", "QuantizeLinear"):
            maker = makers.get(chain[-1])
            if maker is not None and maker.op_type == operator:
                chain.append(maker.input[0])
        product = makers.get(chain[-1])
        alone = [readers.get(name, 0) for name in chain] == [0, 1, 1]
        if alone and product is not None and product.op_type in PRODUCTS:
            gone.update(chain[:-1])
            product.output[0] = value.name
    kept = [node for node in graph.node if node.output[0] not in gone or node.op_type in PRODUCTS]
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(copies)
