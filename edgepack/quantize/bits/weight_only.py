"""`w8-weight-only` and `w4-weight-only`: matrices in few bits, what flows stays float."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgepack.base import Context
from edgepack.errors import ModelError
from edgepack.quantize.bits.budget import allotted
from edgepack.quantize.bits.candidates import Candidate, Solver, WeightsOnly, candidates, elsewhere
from edgepack.quantize.bits.seen import seen_by
from edgepack.quantize.bits.store import store_blocks
from edgepack.quantize.dynamic import plan_dynamic
from edgepack.quantize.embedding import plan_embeddings, quantize_embeddings
from edgepack.quantize.layers import layers
from edgepack.quantize.packed import store_packed
from edgepack.quantize.rounding import refusal
from edgepack.quantize.survey import CONVOLUTIONS, float_weights
from edgepack.types import Frozen

if TYPE_CHECKING:
    import onnx

    from edgepack.types import Array

NEEDS_DATA = frozenset({"gptq", "awq"})


class WeightsOnlyPlan(Frozen):
    """What was decided.

    Attributes:
        methods: by product, what found its levels.
        left: weighted nodes that stay float, with the reason.
        bits: by product, the bits of a weight.
    """

    methods: dict[str, Solver]
    left: dict[str, str]
    bits: dict[str, int]


def method_for(wanted: Solver | Literal["auto"], *, calibrated: bool) -> Solver:
    """Return the method to use: ``gptq`` where there is calibration data, else ``hqq``.

    Raises:
        ModelError: E491 where a method is wanted that needs data, and there is none.
    """
    if wanted == "auto":
        return "gptq" if calibrated else "hqq"
    if wanted in NEEDS_DATA and not calibrated:
        raise ModelError(
            "E491",
            f"the method `{wanted}` needs calibration data",
            why="it weighs errors by what layers are fed, and no real samples were given",
            fix='add `calibration = "..."` under [data], or choose method = "hqq"',
        )
    return wanted


def store_weights_only(
    proto: onnx.ModelProto,
    told: WeightsOnly,
    keep: tuple[str, ...],
    operators: tuple[str, ...],
    context: Context,
) -> None:
    """Store matrices and embeddings of a prepared graph in few bits, in place.

    Raises:
        ModelError: E490 where they cannot be stored in the bytes that are allowed.
    """
    plan = plan_dynamic(proto, keep, operators)
    convolutions = {node.name for node in proto.graph.node if node.op_type in CONVOLUTIONS}
    left = {
        name: "a convolution has no kernel for it" if name in convolutions else why
        for name, why in plan.left.items()
    }
    names = tuple(n.name for n in proto.graph.node if n.name in plan.nodes and n.domain == "")
    tables = plan_embeddings(proto, keep)
    matrices = _matrices(proto, names)
    own = {layer.node.name: layer for layer in layers(proto, names)}
    widths = _widths(told)
    stored: dict[str, dict[int, Candidate]] = {}
    methods: dict[str, Solver] = {}
    if told.method in NEEDS_DATA:
        known = [layer for layer in own.values() if not refusal(layer)]
        for layer, seen, means in seen_by(proto, known, told.samples, context, told.method):
            name = layer.node.name
            methods[name] = told.method
            stored[name] = candidates(matrices[name], seen, means, told, widths, own[name])
    for name, matrix in matrices.items():
        if name not in stored:
            methods[name] = "rtn" if told.method == "rtn" else "hqq"
            blind = told.model_copy(update={"method": methods[name]})
            stored[name] = candidates(matrix, None, None, blind, widths, own.get(name))
    taken = dict.fromkeys(stored, widths[0])
    if told.size is not None:
        choices = {name: tuple(c.choice for c in of.values()) for name, of in stored.items()}
        rest = elsewhere(proto, [matrices[name].size for name in stored], tables)
        taken = {n: c.bits for n, c in allotted(choices, rest, told.size).items()}
    context.events.decision(WeightsOnlyPlan(methods=methods, left=left, bits=taken))
    context.events.decision(tables)
    chosen = {name: stored[name][bits] for name, bits in taken.items()}
    blocks = {name: one.stored for name, one in chosen.items() if one.stored is not None}
    for name, one in chosen.items():
        if one.packed is not None:
            levels, steps = one.packed
            axis = own[name].layout.axis
            store_packed(proto, own[name].node.input[1], levels, steps, None, axis, "w2")
    store_blocks(proto, plan, blocks, told.accuracy_level)
    quantize_embeddings(proto, tables)


def _widths(told: WeightsOnly) -> tuple[int, ...]:
    """Return the widths that layers may have, the widest first."""
    return (told.bits,) if told.size is None else tuple(b for b in (8, 4, 2) if b <= told.bits)


def _matrices(proto: onnx.ModelProto, names: tuple[str, ...]) -> dict[str, Array]:
    """Return the weights of products as [out, in]."""
    from onnx import numpy_helper

    weights = float_weights(proto)
    found: dict[str, Array] = {}
    for node in proto.graph.node:
        if node.name in names:
            value = numpy_helper.to_array(weights[node.input[1]])
            turned = any(a.name == "transB" and a.i for a in node.attribute)
            found[node.name] = value if turned else value.T
    return found
