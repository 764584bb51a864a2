"""The bars: what edgepack promises beside its peers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgepack.report import TargetReport
from peers.builds import FLOAT
from peers.cases import LENGTHS
from peers.measured import Measured

MINILM = {
    "ONNX Runtime, quantize_dynamic": 1.27,
    "optimum-onnx, dynamic": 1.4,
    "Olive, automatic int8": 1.45,
    "OpenVINO with NNCF": 0.95,
}
"""Times as fast as each, at both lengths."""
PICTURES = {
    ("resnet18", "x86-vnni"): 3.0,
    ("mobilenet", "x86-vnni"): 1.75,
    ("resnet18", "x86-amx"): 4.5,
    ("mobilenet", "x86-amx"): 1.95,
    ("resnet18", "x86-openvino"): 8.0,
    ("mobilenet", "x86-openvino"): 2.4,
}
"""Times as fast as ONNX Runtime's float model."""
NEAR_MEAN, NEAR_WORST, MOST_MB, MOST_COLD, LEAST_RIGHT = 0.993, 0.985, 24.5, 1.1, 17

Found = Mapping[str, Sequence[Measured]]
Reports = Mapping[tuple[str, str], TargetReport | None]


def bars(
    found: Found, reports: Reports, cold: Mapping[str, float], features: Sequence[str]
) -> tuple[dict[str, bool], list[str]]:
    """Return what must hold, each with whether it does, and what cannot be measured here."""
    held: dict[str, bool] = {}
    elsewhere: list[str] = []
    rows = {case: {row.candidate.name: row for row in some} for case, some in found.items()}
    if "minilm" in rows:
        held |= dict(_minilm(rows["minilm"], cold))
    for (case, target), least in PICTURES.items():
        if case not in rows:
            continue
        says = f"{case}, {target}: at least {least} times ONNX Runtime's float model"
        if target == "x86-amx" and "amx" not in features:
            elsewhere.append(f"{says}: not measurable here: no AMX")
            continue
        times = _times(rows[case], f"edgepack, {target}", FLOAT, "one picture")
        held[f"{says}: {times:.2f}"] = times >= least
    if "mobilenet" in rows:
        right = rows["mobilenet"]["edgepack, x86-vnni"].right
        held[f"mobilenet int8: {right} of 20 pictures, at least {LEAST_RIGHT}"] = (
            right >= LEAST_RIGHT
        )
    held |= dict(_auto(rows, reports))
    return held, elsewhere


def _minilm(rows: Mapping[str, Measured], cold: Mapping[str, float]) -> Iterator[tuple[str, bool]]:
    name = "edgepack, x86-vnni"
    for peer, least in MINILM.items():
        for length in LENGTHS:
            times = _times(rows, name, peer, f"{length} tokens")
            says = f"minilm, {length} tokens: at least {least} times {peer}: {times:.2f}"
            yield says, times >= least
    own = rows[name]
    for what, near in (("alone", own.cosines), ("in padded batches", own.padded)):
        mean, worst = (sum(near) / len(near), min(near)) if near else (0.0, 0.0)
        says = (
            f"minilm {what}: cosine at least {NEAR_MEAN} and {NEAR_WORST}: {mean:.4f}, {worst:.4f}"
        )
        yield says, mean >= NEAR_MEAN and worst >= NEAR_WORST
    size = own.candidate.size / 1e6
    yield f"minilm: at most {MOST_MB} MB: {size:.1f}", 0 < size <= MOST_MB
    gathered = own.candidate.size > 0 and embedding_is_gathered(own.candidate.model)
    yield "minilm: the embedding is gathered as int8 rows", gathered
    times = cold["edgepack"] / cold["plain"] if cold else float("inf")
    yield (
        f"minilm: cold export to int8 at most {MOST_COLD} times the plain script: {times:.2f}",
        (times <= MOST_COLD),
    )


def _auto(
    rows: Mapping[str, Mapping[str, Measured]], reports: Reports
) -> Iterator[tuple[str, bool]]:
    """Yield whether each build is no slower than float and inside its tolerance."""
    for (case, target), report in reports.items():
        if target == "x86-amx" or case not in rows:
            continue
        if report is None:
            yield f"{case}, {target}: auto ships something", False
            continue
        some, name = rows[case], f"edgepack, {target}"
        slowest = min(
            (_times(some, name, FLOAT, question) for question, _ in some[FLOAT].nanoseconds),
            default=0.0,
        )
        yield (
            f"{case}, {target}: auto ships {report.scheme}, {slowest:.2f} times float, "
            f"{report.verdict}",
            slowest >= 1 and report.verdict == "pass",
        )


def _times(rows: Mapping[str, Measured], one: str, other: str, question: str) -> float:
    """Return how many times as fast one is as another; nothing where one was not timed."""
    seconds = [rows[name].median(question) if name in rows else 0.0 for name in (one, other)]
    if not all(0 < s < float("inf") for s in seconds):
        return 0.0
    return seconds[1] / seconds[0]


def embedding_is_gathered(model: Path) -> bool:
    """Whether the largest table that is gathered from holds bytes."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    tables = {tensor.name: tensor for tensor in graph.initializer}
    read = [
        tables[n.input[0]] for n in graph.node if n.op_type == "Gather" and n.input[0] in tables
    ]
    largest = max(read, key=lambda table: table.dims[0] if len(table.dims) > 1 else 0, default=None)
    return largest is not None and largest.data_type in {
        onnx.TensorProto.INT8,
        onnx.TensorProto.UINT8,
    }
