"""Our gate for foreign ONNX files: what passes is ours, rewritten from what was checked.

Neither `onnx.checker` nor the runtime is a gate: the one accepts opset 999 and wrong lengths of
external data, the other reads files through links. Call `admit_to` in a child with limits; a
hostile protobuf may still exhaust memory while it is parsed.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack.errors import ModelError
from edgepack.graph.finite import refuse_diverged
from edgepack.graph.functions import inline
from edgepack.graph.quantised import half_weights, quantised_by
from edgepack.graph.structure import Walk
from edgepack.graph.tensors import Tensors
from edgepack.graph.value import Graph
from edgepack.graph.weights import PROTOBUF_LIMIT
from edgepack.types import Tolerance

if TYPE_CHECKING:
    import onnx

OPSETS = (7, 26)
IR = 13
"""What ONNX Runtime 1.31 loads."""
MAX_INPUT = 1 << 28
"""Elements of one input: 1 GiB of float32."""
HALF_TOLERANCE = Tolerance(exact=False, relative=2e-2, cosine=0.999)
"""Between processors that compute 16-bit floats as such and those that widen them first."""


@dataclass(frozen=True)
class Admitted:
    """A foreign model that passed.

    Attributes:
        graph: rewritten from what was checked.
        notes: what a user should know of it.
    """

    graph: Graph
    notes: tuple[str, ...]


def admit(path: Path, *, opset: tuple[int, int] = OPSETS, ir: int = IR) -> Graph:
    """Read a foreign model, check all of it, and return it rewritten; see `receive`."""
    return receive(path, opset=opset, ir=ir).graph


def receive(path: Path, *, opset: tuple[int, int] = OPSETS, ir: int = IR) -> Admitted:
    """Read a foreign model, check all of it, and return it rewritten, with notes.

    Args:
        path: the ``.onnx`` file; external data must lie beside it.
        opset: lowest and highest version of the default domain.
        ir: highest IR version.

    Raises:
        ModelError: E400 to E410, E412 to E416, E418 and E419, naming the tensor, node or operator
            at fault.
    """
    model = _parse(path)
    notes = []
    if model.training_info:
        del model.training_info[:]
        notes.append(f"{path.name} carries training_info, which is left out")
    if model.functions:
        count = len(model.functions)
        model = inline(model)
        notes.append(f"the {count} functions of {path.name} were put in line")
    versions = _versions(model, opset, ir)
    _refuse_missing(model.graph, path.parent)
    model.DiscardUnknownFields()
    walk = Walk(versions, Tensors(path.parent))
    walk.graph(model.graph, frozenset())
    graph = _rewrite(model, {d: versions[d] for d in sorted(walk.domains | {""})}, path.stem)
    if not graph.outputs or not graph.inputs:
        raise ModelError(
            "E414", f"{path.name} has no inputs or no outputs", fix="export the model again"
        )
    _refuse_vast(graph)
    refuse_diverged(graph.model)
    if proof := quantised_by(graph):
        notes.append(f"{path.name} is already quantised: {proof}")
        return Admitted(graph.replace(scheme="quantised"), tuple(notes))
    if halves := half_weights(graph):
        notes.append(f"{path.name} holds {halves} weights of 16-bit floats, which stay")
        graph = graph.replace(tolerance=HALF_TOLERANCE)
    return Admitted(graph, tuple(notes))


def admit_to(path: str, folder: str, opset: list[int] | None = None, ir: int = IR) -> Any:
    """Admit a file in a child of its own and save the graph into `folder`.

    Returns:
        ``{"notes": [...]}``, or ``{"refused": {...}}`` with the arguments of the `ModelError`.
    """
    low, high = opset or OPSETS
    try:
        admitted = receive(Path(path), opset=(low, high), ir=ir)
        admitted.graph.save(Path(folder))
    except ModelError as no:
        told = {"code": no.code, "what": no.what, "where": no.where, "why": no.why, "fix": no.fix}
        return {"refused": told}
    return {"notes": admitted.notes}


def _parse(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= PROTOBUF_LIMIT:
            raise ModelError(
                "E400",
                f"{path.name} is empty, larger than 2 GiB or not a regular file",
                fix="name an .onnx file",
            )
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as problem:
        raise ModelError(
            "E400",
            f"cannot read {path.name}",
            why=problem.strerror or str(problem),
            fix="name an .onnx file that is there and may be read",
        ) from problem
    except DecodeError as problem:
        raise ModelError(
            "E401",
            f"{path.name} is not an ONNX model",
            why=str(problem),
            fix="export or download it again",
        ) from problem
    _refuse_noise(model, path.name)
    return model


def _refuse_missing(graph: onnx.GraphProto, folder: Path) -> None:
    """Name the files with weights that do not lie beside the model, all at once."""
    entries = [entry for tensor in graph.initializer for entry in tensor.external_data]
    named = [entry.value for entry in entries if entry.key == "location"]
    # What is no plain name is refused as that, and not looked for.
    plain = [name for name in dict.fromkeys(named) if name and not set(name) & set("/\\\0:")]
    missing = [name for name in plain if len(name) < 256 and not os.path.lexists(folder / name)]
    if missing:
        raise ModelError(
            "E418",
            f"the model's weights are missing: {', '.join(f'`{name}`' for name in missing[:4])}",
            why=f"{len([n for n in named if n in missing])} of {len(graph.initializer)} tensors "
            "lie in a file that is not beside the model",
            fix="copy that file into the model's folder, or save the model as one file",
        )


def _refuse_noise(message: Any, name: str) -> None:
    """Refuse text that is no UTF-8: protobuf gives it out as bytes."""
    from google.protobuf.message import Message

    for field, value in message.ListFields():
        values = [value] if isinstance(value, str | bytes | Message) else value
        if field.type == field.TYPE_MESSAGE:
            for part in values:
                _refuse_noise(part, name)
        elif field.type == field.TYPE_STRING and not all(isinstance(v, str) for v in values):
            raise ModelError(
                "E401",
                f"{name} is not an ONNX model",
                why=f"`{field.name}` is not text",
                fix="export or download it again",
            )


def _versions(model: onnx.ModelProto, opset: tuple[int, int], ir: int) -> dict[str, int]:
    """Check IR version and opsets; return the version of each domain."""
    from onnx import defs

    domains = ["" if o.domain == "ai.onnx" else o.domain for o in model.opset_import]
    versions = dict(zip(domains, (o.version for o in model.opset_import), strict=True))
    low, high = opset
    if not 3 <= model.ir_version <= ir:
        why = f"IR version {model.ir_version} is not one of 3 to {ir}"
    elif len(versions) != len(domains):
        why = "a domain is imported twice"
    elif not low <= versions.get("", 0) <= high:
        why = f"opset {versions.get('', 'none')} is not one of {low} to {high}"
    elif not 1 <= versions.get("ai.onnx.ml", 1) <= defs.onnx_ml_opset_version():
        why = f"opset {versions['ai.onnx.ml']} of ai.onnx.ml is not known"
    elif versions.get("com.microsoft", 1) != 1:
        why = f"opset {versions['com.microsoft']} of com.microsoft is not known"
    else:
        return versions
    raise ModelError(
        "E402",
        "the model is of a version that cannot be read",
        why=why,
        fix=f"export it at an opset of {low} to {high}",
    )


def _refuse_vast(graph: Graph) -> None:
    """Refuse inputs that no memory holds; axes without a number may be as small as one likes."""
    for spec in graph.inputs:
        count = math.prod(axis for axis in spec.shape if isinstance(axis, int))
        if count > MAX_INPUT:
            raise ModelError(
                "E412",
                f"input `{spec.name}` has {count:,} elements",
                why=f"{MAX_INPUT:,} are the most that is fed",
                fix="export the model with smaller or dynamic axes",
            )


def _rewrite(model: onnx.ModelProto, versions: dict[str, int], name: str) -> Graph:
    """Build our own model from the checked graph; nothing else of the file survives."""
    import onnx
    import onnx_ir as ir
    from onnx_ir.passes import common

    graph = model.graph
    graph.name = graph.name or name
    # Before IR 4 weights had to be inputs as well.
    weights = {t.name for t in graph.initializer}
    inputs = [v for v in graph.input if v.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in graph.input:
        _open_axes(value)
    # Emptied rather than copied: its weights may be gigabytes.
    version = max(model.ir_version, 8)
    for field, _ in model.ListFields():
        if field.name != "graph":
            model.ClearField(field.name)
    model.ir_version = version
    model.opset_import.extend(onnx.helper.make_opsetid(d, v) for d, v in versions.items())
    try:
        if any(not v.type.tensor_type.HasField("shape") for v in graph.output):
            _infer_outputs(model)
        for value in graph.output:
            _open_axes(value)
        lifted = ir.from_proto(model)
    except (ir.serde.SerdeError, onnx.shape_inference.InferenceError) as problem:
        raise ModelError(
            "E416",
            f"{name} has types or shapes that contradict each other",
            why=str(problem.__cause__ or problem)[:400],
            fix="export the model again",
        ) from problem
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(lifted)
    # Through a message once more, so that nothing lazily refers to the foreign message.
    return Graph.from_proto(Graph(lifted).proto())


def _open_axes(value: onnx.ValueInfoProto) -> None:
    """Spell every unknown axis as one without name or number; exporters write -1 or ``?``."""
    for axis in value.type.tensor_type.shape.dim:
        if axis.dim_value < 0 or not any(c.isalnum() for c in axis.dim_param or "0"):
            axis.Clear()


def _infer_outputs(model: onnx.ModelProto) -> None:
    """Give outputs the rank that the file leaves out."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(model)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
