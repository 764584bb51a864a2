"""The pass `quantize`: weights and activations to 8 bits, as suits the graph and the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from edgepack.base import Context, GraphPass
from edgepack.child import ChildError, call
from edgepack.errors import ModelError
from edgepack.graph import Graph
from edgepack.quantize.calibrate import calibrate
from edgepack.quantize.choose import Calibration, Scheme, SchemeDecision, choose, insist
from edgepack.quantize.dynamic import plan_dynamic, quantize_dynamic
from edgepack.quantize.embedding import plan_embeddings, quantize_embeddings
from edgepack.quantize.exact import exact
from edgepack.quantize.saturation import refuse_saturating
from edgepack.quantize.static import left_float, plan_static
from edgepack.quantize.survey import Survey, survey
from edgepack.types import Split, Tolerance

if TYPE_CHECKING:
    import onnx

INT8_TOLERANCE = Tolerance(exact=False, relative=0.25, cosine=0.999)
"""Between instruction sets, where float arithmetic feeds a quantiser: a last bit may flip a level,
and layers above amplify that. Of 8 vectors through MiniLM on an emulated Cortex-A72, 6 were within
1e-6 of the largest output, one within 1e-3, and one 0.037 off with a cosine of .9994; saturating
products cost .98. So the mean cosine judges, and `relative` is a net for single wild elements."""
BITWISE = Tolerance(exact=True)


class Quantize(GraphPass):
    """Store weights in 8 bits and compute in integers where it pays.

    `w8a8-static` fixes the ranges of activations by calibration (Jacob et al., arXiv:1712.05877);
    `w8-dynamic` measures them as the model runs (Zafrir et al., Q8BERT, arXiv:1910.06188).
    """

    name: ClassVar[str] = "quantize"
    reads: ClassVar[frozenset[Split]] = frozenset({"calibration"})
    from_target: ClassVar[dict[str, str]] = {
        "schemes": "quantize.schemes",
        "weight_type": "quantize.weight_type",
        "dynamic_weight_type": "quantize.dynamic_weight_type",
        "activation_type": "quantize.activation_type",
        "per_channel": "quantize.per_channel",
        "reduce_range": "quantize.reduce_range",
        "saturates": "isa.saturates",
    }

    scheme: Literal["auto", "w8a8-static", "w8-dynamic", "float"] = Field(
        "auto", description="a scheme, or `auto`: the first of `schemes` that suits the graph"
    )
    schemes: tuple[Scheme, ...] = Field(
        ("w8a8-static", "w8-dynamic", "float"),
        description="what `auto` considers, in order of preference",
    )
    weight_type: Literal["s8", "u8"] = Field(
        "s8", description="signed or unsigned bytes, for `w8a8-static`"
    )
    dynamic_weight_type: Literal["s8", "u8"] = Field(
        "s8", description="signed or unsigned bytes, for `w8-dynamic`"
    )
    activation_type: Literal["s8", "u8"] = Field(
        "u8", description="signed or unsigned bytes, for `w8a8-static`"
    )
    per_channel: bool = Field(
        True, description="one scale for every output channel of a weight instead of one for all"
    )
    reduce_range: bool = Field(
        False,
        description="7 bits for signed weights, for processors whose 16-bit sums would saturate",
    )
    saturates: bool = Field(
        False, description="the target has such processors; an unsafe result is refused"
    )
    samples: int = Field(128, ge=1, description="most samples that calibration looks at")
    keep: tuple[str, ...] = Field(
        (), description="patterns of node names (`*` and `?`) that stay float"
    )

    @property
    def label(self) -> str:
        """The scheme."""
        return self.scheme

    def ways(self) -> tuple[Self, ...]:
        """Return a scheme each for ``auto``; a scheme that the recipe names stands beside float."""
        named = self.schemes if self.scheme == "auto" else (self.scheme,)
        schemes = [*dict.fromkeys(s for s in named if s != "float"), "float"]
        return tuple(self.model_copy(update={"scheme": scheme}) for scheme in schemes)

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph quantised, or as it is where that is best.

        Raises:
            ModelError: E450 to E455.
        """
        proto = _prepared(graph, context)
        found = survey(proto)
        if graph.scheme != "float" or found.quantised:
            context.events.note("the model is quantised already and stays as it is")
            if self.saturates:
                refuse_saturating(proto)
            return graph
        decision = self._decided(found, context)
        context.events.decision(decision)
        if decision.scheme == "float":
            return graph
        if decision.scheme == "w8-dynamic":
            self._dynamic(proto, found, context)
        else:
            proto = self._static(proto, found, context)
        if not survey(proto).quantised:
            context.events.note("no layer was left to quantise; the model stays float")
            return graph
        _tidy(proto, graph)
        if self.saturates:
            refuse_saturating(proto)
        tolerance = BITWISE if exact(proto) else INT8_TOLERANCE
        return Graph.from_proto(proto, scheme=decision.scheme, tolerance=tolerance)

    def _decided(self, found: Survey, context: Context) -> SchemeDecision:
        samples = context.data.get("calibration")
        calibration: Calibration = "none" if samples is None else "given"
        if samples is not None and samples.generated:
            calibration = "generated"
        if self.scheme == "auto":
            return choose(found, calibration, self.schemes)
        return insist(self.scheme, found, calibration)

    def _dynamic(self, proto: onnx.ModelProto, found: Survey, context: Context) -> None:
        if found.convolutional:
            context.events.note(
                f"{found.convolutions} convolutions stay float: `w8-dynamic` would slow them down"
            )
        plan, tables = plan_dynamic(proto, self.keep), plan_embeddings(proto)
        context.events.decision(plan)
        context.events.decision(tables)
        quantize_dynamic(
            proto,
            plan,
            signed=self.dynamic_weight_type == "s8",
            per_channel=self.per_channel,
            narrow=self.reduce_range and self.dynamic_weight_type == "s8",
        )
        quantize_embeddings(proto, tables)

    def _static(self, proto: onnx.ModelProto, found: Survey, context: Context) -> onnx.ModelProto:
        plan, tables = plan_static(proto, found, self.keep), plan_embeddings(proto)
        table = calibrate(proto, plan.observed, context.data["calibration"], self.samples, context)
        result = _in_child(
            context,
            "quantize",
            proto,
            nodes=plan.nodes,
            operators=plan.operators,
            outputs=plan.outputs,
            ranges={name: (seen.low, seen.high) for name, seen in table.ranges.items()},
            **self.model_dump(
                include={"weight_type", "activation_type", "per_channel", "reduce_range"}
            ),
        )
        left = {**plan.left, **left_float(result, plan)}
        context.events.decision(plan.model_copy(update={"left": left}))
        context.events.decision({"calibration": table.model_dump()})
        context.events.decision(tables)
        if missed := len(left) - len(plan.left):
            context.events.note(f"{missed} layers stay float although they could be quantised")
        quantize_embeddings(result, tables)
        return result


def _prepared(graph: Graph, context: Context) -> onnx.ModelProto:
    """Return the graph with constants as weights, named nodes and inferred shapes."""
    return _in_child(context, "prepare", graph.proto())


def _in_child(
    context: Context, function: str, proto: onnx.ModelProto, **arguments: Any
) -> onnx.ModelProto:
    """Run a function of the worker on a model in a child process and return the model it writes."""
    import onnx

    source, destination = context.work / f"{function}-in.onnx", context.work / f"{function}.onnx"
    onnx.save(proto, source)
    files = {"source": str(source), "destination": str(destination)}
    try:
        call(f"edgepack.quantize.worker:{function}", {**files, **arguments})
    except ChildError as problem:
        raise ModelError(
            "E454",
            f"the model cannot be quantised: `{function}` failed",
            why=problem.detail,
            fix='choose scheme = "float", or keep the node that the message names: keep = [...]',
        ) from problem
    return onnx.load(destination)


def _tidy(proto: onnx.ModelProto, original: Graph) -> None:
    """Drop weights that nothing reads, stale shapes, and what tools wrote about themselves."""
    graph = proto.graph
    read = {name for node in graph.node for name in node.input} | {v.name for v in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(copies)
    before = original.proto()
    del proto.metadata_props[:]
    proto.metadata_props.extend(before.metadata_props)
    proto.producer_name, proto.producer_version = before.producer_name, before.producer_version
