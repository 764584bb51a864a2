"""The pass `quantize`: weights and activations to 8 bits, as suits the graph and the target."""

from __future__ import annotations

from glob import escape
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from edgepack.base import Context, GraphPass, Repair
from edgepack.graph import Graph, weights
from edgepack.quantize.addition import align_additions
from edgepack.quantize.attention import fuse_attention
from edgepack.quantize.bits.fewer import Accuracy, Group, store_fewer
from edgepack.quantize.bits.fewer import Method as Solver
from edgepack.quantize.calibrate import calibrate
from edgepack.quantize.dynamic import plan_dynamic, quantize_dynamic
from edgepack.quantize.embedding import plan_embeddings, quantize_embeddings
from edgepack.quantize.exact import exact
from edgepack.quantize.half import plan_half, store_in_half
from edgepack.quantize.learned import store_learned
from edgepack.quantize.norms import even_norms, plan_norms
from edgepack.quantize.outputs import answer_in_float
from edgepack.quantize.parts import Operator, parts
from edgepack.quantize.prepared import in_child, prepared, tidy
from edgepack.quantize.ranges.reduce import Method, reducer
from edgepack.quantize.refine import Bytes, Rounding, refine
from edgepack.quantize.repairs import repairs
from edgepack.quantize.require import Calibration, require, require_axis, require_named
from edgepack.quantize.residual import keep_sums
from edgepack.quantize.saturation import refuse_saturating
from edgepack.quantize.space_to_depth import compute_on_blocks, plan_blocks
from edgepack.quantize.static import left_float, plan_static
from edgepack.quantize.survey import Survey, survey
from edgepack.quantize.zero_point_one import set_zero_point_one
from edgepack.quantize.zeros import drop_zero_points
from edgepack.types import QuantTable, Scheme, Split, Tolerance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

INT8_TOLERANCE = Tolerance(exact=False, relative=0.25, cosine=0.999)
"""Between instruction sets, where float arithmetic feeds a quantiser: a last bit may flip a level,
and layers above amplify that. Of 8 vectors through MiniLM on an emulated Cortex-A72, 6 were within
1e-6 of the largest output, one within 1e-3, and one 0.037 off with a cosine of .9994; saturating
products cost .98. So the mean cosine judges, and `relative` is a net for single wild elements."""
BITWISE = Tolerance(exact=True)


class Quantize(GraphPass):
    """Store weights in fewer bits and compute in integers where it pays.

    `w8a8-static` fixes the ranges of activations by calibration (Jacob et al., arXiv:1712.05877);
    `w8-dynamic` measures them as the model runs (Zafrir et al., Q8BERT, arXiv:1910.06188); `fp16`
    halves the file and computes in float32. `auto` is settled by the build, which tries each.
    """

    name: ClassVar[str] = "quantize"
    reads: ClassVar[frozenset[Split]] = frozenset({"calibration"})
    from_target: ClassVar[dict[str, str]] = {
        "schemes": "quantize.schemes",
        "weight_type": "quantize.weight_type",
        "dynamic_weight_type": "quantize.dynamic_weight_type",
        "activation_type": "quantize.activation_type",
        "per_channel": "quantize.per_channel",
        "weight_symmetric": "quantize.weight_symmetric",
        "activation_symmetric": "quantize.activation_symmetric",
        "reduce_range": "quantize.reduce_range",
        "calibration": "quantize.calibration",
        "saturates": "isa.saturates",
        "learned": "learned",
        "weight_zero_point_one": "rewrites.weight_zero_point_one",
        "space_to_depth": "rewrites.space_to_depth",
    }

    scheme: Literal["auto"] | Scheme = Field(
        "auto", description="a scheme, or `auto`: the best of `schemes` by measurement"
    )
    schemes: tuple[Scheme, ...] = Field(
        ("w8a8-static", "w8-dynamic", "fp16", "float"),
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
    weight_symmetric: bool = Field(
        True, description="ranges of weights reach as far down as up, for `w8a8-static`"
    )
    activation_symmetric: bool = Field(
        False, description="ranges of activations reach as far down as up, for `w8a8-static`"
    )
    reduce_range: bool = Field(
        False,
        description="7 bits for signed weights, for processors whose 16-bit sums would saturate",
    )
    saturates: bool = Field(
        False, description="the target has such processors; an unsafe result is refused"
    )
    space_to_depth: bool = Field(
        False, description="first convolutions of stride 2 work on blocks, for `w8a8-static`"
    )
    weight_zero_point_one: bool = Field(
        False,
        description="weights of large convolutions get the zero point 1, which AMX products need, "
        "for `w8a8-static`",
    )
    calibration: Literal["auto"] | Method = Field(
        "auto",
        description="how ranges are found: all values, all but rare ones, the least divergence, "
        "the least squared error; `auto`: `percentile` where convolutions carry the work, else "
        "`minmax`",
    )
    percentile: float = Field(
        99.99, gt=50, le=100, description="percent of the values that `percentile` keeps"
    )
    samples: int = Field(128, ge=1, description="most samples that calibration looks at")
    rounding: Rounding = Field(
        "nearest",
        description="weights go to the nearest level, or up or down by the error of their layer, "
        "for `w8a8-static`",
    )
    correct_bias: bool = Field(
        True, description="mean errors of rounded weights go out of biases, for `w8a8-static`"
    )
    fuse_attention: bool = Field(
        True, description="attention that is spelled out becomes one operator, for `w8-dynamic`"
    )
    operators: tuple[Operator, ...] = Field(
        (), description="weighted operators that are quantised; all where none is named"
    )
    method: Solver = Field(
        "auto",
        description="what finds the levels of `w8-` and `w4-weight-only`: the nearest ones, fitted "
        "scales, the layer's output error, scaled channels; `auto`: `gptq` with calibration data, "
        "else `hqq`",
    )
    group: Group = Field(
        32, description="weights that share a scale, for `w8-` and `w4-weight-only`"
    )
    symmetric: bool = Field(
        False, description="zero points are the middle level, for `w8-` and `w4-weight-only`"
    )
    accuracy_level: Accuracy = Field(
        4,
        description="0 computes `w8-` and `w4-weight-only` in float32, 4 rounds activations to 8 "
        "bits, block by block, which is faster",
    )
    size: int | None = Field(
        None,
        gt=0,
        description="bytes that the model may take; layers of `w8-` and `w4-weight-only` go to "
        "fewer bits, down to 2, those first that err least by it",
    )
    learned: bool = Field(
        False, description="weights were trained at few levels (`qat`), which `auto` stores"
    )
    keep: tuple[str, ...] = Field(
        (), description="patterns of node names (`*` and `?`) that stay float"
    )

    @field_validator("weight_symmetric")
    @classmethod
    def _possible(cls, symmetric: bool, info: ValidationInfo) -> bool:
        if not symmetric and info.data.get("per_channel"):
            raise ValueError(
                "with a scale a channel, ONNX Runtime makes weights symmetric whatever it is told; "
                "set per_channel = false"
            )
        return symmetric

    @field_validator("size")
    @classmethod
    def _spent(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is not None and info.data.get("scheme") not in {"w8-weight-only", "w4-weight-only"}:
            raise ValueError("only `w8-weight-only` and `w4-weight-only` choose widths by size")
        return size

    @property
    def label(self) -> str:
        """The scheme, and the operators that it is confined to."""
        if self.learned and self.scheme == "auto":
            return "as trained"
        return f"{self.scheme} ({', '.join(self.operators)})" if self.operators else self.scheme

    def ways(self) -> tuple[Self, ...]:
        """Return a scheme each for ``auto``; a scheme that the recipe names stands beside float."""
        if self.learned and self.scheme == "auto":
            return (self, self.model_copy(update={"scheme": "float"}))
        named = self.schemes if self.scheme == "auto" else (self.scheme,)
        schemes = [*dict.fromkeys(s for s in named if s != "float"), "float"]
        return tuple(self.model_copy(update={"scheme": scheme}) for scheme in schemes)

    def repairs(self) -> tuple[Repair, ...]:
        """Return other ranges, evened channels, finer scales and better rounding, in that order."""
        return repairs(self)

    def sparing(self, names: Sequence[str]) -> Self:
        """Return the same with these layers left float."""
        return self.model_copy(update={"keep": (*self.keep, *map(escape, names))})

    def narrower(self, facts: Mapping[str, Any]) -> tuple[Self, ...]:
        """Return the scheme confined to some operators; `facts` are those of a graph."""
        if self.operators or self.scheme == "auto":
            return ()
        subsets = parts(facts.get("operators", {}), self.scheme)
        return tuple(self.model_copy(update={"operators": subset}) for subset in subsets)

    def apply(self, graph: Graph, context: Context) -> Graph:
        """Return the graph quantised, or as it is where that is best.

        Raises:
            ModelError: E450 to E456, E462, E489 to E491.
        """
        if graph.table is not None and self.scheme not in {"float", "fp16"}:
            return self._as_trained(graph, graph.table, context)
        assert self.scheme != "auto", "a plan settles `auto` before it runs"
        proto = prepared(graph, context)
        require_named(proto, self.keep)
        found = survey(proto, self.operators)
        if graph.scheme != "float" or found.quantised:
            context.events.note("the model is quantised already and stays as it is")
            if self.saturates:
                refuse_saturating(proto)
            return graph
        require(self.scheme, found, _calibration(context))
        if self.scheme == "float":
            return graph
        if self.scheme == "fp16":
            return self._half(proto, graph, context)
        if self.scheme not in {"w8-dynamic", "w8a8-static"}:
            exactly = store_fewer(proto, self, context, calibrated=_calibration(context) == "given")
            tidy(proto, graph)
            tolerance = graph.tolerance if exactly else INT8_TOLERANCE
            return Graph.from_proto(proto, scheme=self.scheme, tolerance=tolerance)
        if self.scheme == "w8-dynamic":
            proto = self._dynamic(proto, found, context)
        else:
            proto = self._static(proto, found, context)
        if not survey(proto).quantised:
            context.events.note("no layer was left to quantise; the model stays float")
            return graph
        tidy(proto, graph)
        if self.saturates:
            refuse_saturating(proto)
        tolerance = BITWISE if exact(proto) else INT8_TOLERANCE
        return Graph.from_proto(proto, scheme=self.scheme, tolerance=tolerance)

    def _as_trained(self, graph: Graph, table: QuantTable, context: Context) -> Graph:
        proto = prepared(graph, context)
        stored = store_learned(proto, table)
        context.events.decision(stored)
        tidy(proto, graph)
        if self.saturates:
            refuse_saturating(proto)
        tolerance = BITWISE if exact(proto) else graph.tolerance
        return Graph.from_proto(proto, scheme=stored.scheme, tolerance=tolerance)

    def _half(self, proto: onnx.ModelProto, graph: Graph, context: Context) -> Graph:
        plan = plan_half(proto)
        context.events.decision(plan)
        if plan.left:
            context.events.note(f"{len(plan.left)} weights stay float32: float16 cannot hold them")
        store_in_half(proto, plan)
        tidy(proto, graph)
        return Graph.from_proto(proto, scheme="fp16", tolerance=graph.tolerance)

    def _dynamic(self, proto: onnx.ModelProto, found: Survey, context: Context) -> onnx.ModelProto:
        if found.convolutional:
            context.events.note(
                f"{found.convolutions} convolutions stay float: `w8-dynamic` would slow them down"
            )
        if self.fuse_attention and not self.operators:
            proto = fuse_attention(Graph.from_proto(proto), self.keep, context).proto()
        plan = plan_dynamic(proto, self.keep, self.operators)
        tables = plan_embeddings(proto, self.keep)
        norms = plan_norms(proto, plan.nodes)
        for decided in (plan, tables, norms):
            context.events.decision(decided)
        even_norms(proto, norms)
        quantize_dynamic(
            proto,
            plan,
            signed=self.dynamic_weight_type == "s8",
            per_channel=self.per_channel,
            narrow=self.reduce_range and self.dynamic_weight_type == "s8",
        )
        quantize_embeddings(proto, tables)
        keep_sums(proto)
        return proto

    def _static(self, proto: onnx.ModelProto, found: Survey, context: Context) -> onnx.ModelProto:
        if self.per_channel:
            require_axis(next(o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}))
        if self.space_to_depth:
            blocks = plan_blocks(proto, self.keep)
            context.events.decision(blocks)
            compute_on_blocks(proto, blocks)
        plan = plan_static(proto, found, self.keep, self.operators)
        tables = plan_embeddings(proto, self.keep)
        table = calibrate(
            proto,
            plan.observed,
            context.data["calibration"],
            self.samples,
            context,
            reducer(self._method(found), self.percentile),
        )
        self._refine(proto, plan.nodes, context)
        weights.save_proto(proto, context.work / "quantize-in.onnx")
        result = in_child(
            context,
            "quantize",
            nodes=plan.nodes,
            operators=plan.operators,
            outputs=plan.outputs,
            ranges={name: (seen.low, seen.high) for name, seen in table.ranges.items()},
            **self.model_dump(
                include={
                    "weight_type",
                    "activation_type",
                    "per_channel",
                    "reduce_range",
                    "weight_symmetric",
                    "activation_symmetric",
                }
            ),
        )
        left = {**plan.left, **left_float(result, plan)}
        context.events.decision(plan.model_copy(update={"left": left}))
        context.events.decision({"calibration": table.model_dump()})
        context.events.decision(tables)
        if missed := len(left) - len(plan.left):
            context.events.note(f"{missed} layers stay float although they could be quantised")
        answer_in_float(result)
        align_additions(result)
        drop_zero_points(result)
        if self.weight_zero_point_one:
            set_zero_point_one(result, context)
        quantize_embeddings(result, tables)
        keep_sums(result)
        return result

    def _method(self, found: Survey) -> Method:
        if self.calibration != "auto":
            return self.calibration
        return "percentile" if found.convolutional else "minmax"

    def _refine(self, proto: onnx.ModelProto, nodes: tuple[str, ...], context: Context) -> None:
        kind = Bytes(
            self.weight_type, self.per_channel, self.weight_symmetric, narrow=self.reduce_range
        )
        if self.rounding != "nearest" or self.correct_bias:
            refined = refine(
                proto, nodes, kind, self.samples, context, self.rounding, bias=self.correct_bias
            )
            context.events.decision(refined)


def _calibration(context: Context) -> Calibration:
    """Say what there is to calibrate by."""
    samples = context.data.get("calibration")
    if samples is None:
        return "none"
    return "generated" if samples.generated else "given"
