"""Makes each peer's model, and edgepack's own, of one case."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepack.api import Request, prepare
from edgepack.api.run import execute
from edgepack.artifact import Artifact
from edgepack.devices import runtimes
from edgepack.errors import EdgepackError
from edgepack.report import TargetReport
from peers import environment
from peers.candidates import Candidate
from peers.cases import Case
from peers.environment import Failed, last_line

DRIVERS = Path(__file__).parent / "drivers"
SECONDS = 240
"""Time that a peer may take for one model."""
EVERY = ("minilm", "resnet18", "mobilenet")


@dataclass(frozen=True)
class Peer:
    """How a peer makes a model: its environment, its script, what then runs it, and which cases."""

    name: str
    environment: str
    script: str
    kind: str = "ort"
    suffix: str = ".onnx"
    cases: tuple[str, ...] = EVERY


PEERS = (
    Peer("ONNX Runtime, quantize_dynamic", "onnxruntime", "ort_dynamic"),
    Peer("ONNX Runtime, quantize_static", "onnxruntime", "ort_static"),
    Peer("optimum-onnx, dynamic", "optimum", "optimum_dynamic", cases=("minilm",)),
    Peer("Olive, automatic int8", "olive", "olive_auto"),
    Peer("NNCF to ONNX", "nncf", "nncf_onnx"),
    Peer("OpenVINO", "openvino", "openvino_float", "openvino", ".xml"),
    Peer("OpenVINO with NNCF", "openvino", "openvino_nncf", "openvino", ".xml"),
    Peer("ExecuTorch, XNNPACK int8", "executorch", "executorch_xnnpack", "executorch", ".pte"),
    Peer("LiteRT, float", "litert", "litert_float", "litert", ".tflite"),
)
FLOAT = "ONNX Runtime, float"


def made(case: Case, work: Path) -> Iterator[Candidate]:
    """Yield the plain float export first, then what each peer makes; a failure says why."""
    calibration = {
        f"{place}/{name}": array
        for place, inputs in enumerate(case.calibration())
        for name, array in inputs.items()
    }
    np.savez(work / "calibration.npz", **calibration)
    plain = work / "ort_dynamic/float.onnx"
    for peer in PEERS:
        if case.name in peer.cases:
            one = _made(peer, case, work, plain)
            if peer is PEERS[0]:
                yield Candidate(FLOAT, model=plain)
            print(f"  {peer.name}: {one.error or f'{one.seconds:.0f} s'}", flush=True)
            yield one


def _made(peer: Peer, case: Case, work: Path, plain: Path) -> Candidate:
    out = work / peer.script
    out.mkdir()
    job = {
        "case": case.name,
        "weights": case.weights,
        "float": str(plain),
        "calibration": str(work / "calibration.npz"),
        "out": str(out),
    }
    (out / "job.json").write_text(json.dumps(job))
    try:
        python = environment.python(peer.environment)
        seconds = _ran([str(python), str(DRIVERS / f"{peer.script}.py"), str(out / "job.json")])
    except Failed as problem:
        return Candidate(peer.name, error=str(problem))
    own = (sys.executable,) if peer.kind == "ort" else (str(python),)
    return Candidate(peer.name, peer.kind, out / f"model{peer.suffix}", own, seconds=seconds)


def _ran(command: list[str]) -> float:
    """Return the seconds that a command took, its interpreter's start included."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False,
            env={**os.environ, "PYTHONPATH": str(DRIVERS.parent), "ORT_DISABLE_TELEMETRY": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {SECONDS} s") from None
    if done.returncode != 0:
        raise Failed(last_line(done.stderr or done.stdout))
    return time.monotonic() - began


def ours(case: Case, target: str, work: Path) -> tuple[Candidate, TargetReport | None]:
    """Build for a target as a user does, with `scheme = "auto"`."""
    name = f"edgepack, {target}"
    steps = ('steps=[{pass="quantize"}]',)
    request = Request(recipe=case.recipe, targets=(target,), overrides=steps)
    if case.name == "minilm":
        encoder = str(_encoder(case, work))
        request = Request(model=encoder, targets=(target,), overrides=("name=minilm", *steps))
    began = time.monotonic()
    try:
        report = execute(prepare(request), out=work, force=True).targets[0]
    except EdgepackError as problem:
        print(f"  {name}: {problem.code} {problem.what}: {problem.why}", flush=True)
        return Candidate(name, error=f"{problem.code} {problem.what}"[:160]), None
    seconds = time.monotonic() - began
    artifact = Artifact.open(Path(report.artifact))
    model = artifact.extract_model(_folder(work / target))
    runtime = artifact.manifest.runtime
    python, path = (sys.executable,), ""
    if runtime.package != runtimes.OWN:
        own = runtimes.ensure(runtime.package, runtime.maximum, offline=False, announce=print)
        python, path = (sys.executable, "-S"), str(own.site)
    session = artifact.manifest.session.model_dump(mode="json")
    one = Candidate(name, "ort", model, python, path, session, seconds)
    print(f"  {name}: {report.scheme}, {report.verdict}, {seconds:.0f} s", flush=True)
    return one, report


def _encoder(case: Case, work: Path) -> Path:
    """Return the folder without its pooling, for the peers' models give each token's state."""
    folder = _folder(work / "encoder")
    for item in Path(case.weights).iterdir():
        if item.is_file() and item.name != "modules.json":
            shutil.copyfile(item, folder / item.name)
    return folder


def cold(case: Case, work: Path) -> dict[str, float]:
    """Return the least seconds of export, fusion and int8, ours and the plain script's, in turn."""
    least: dict[str, float] = {}
    for turn in range(2):
        out = _folder(work / f"cold-{turn}")
        job = {"case": case.name, "weights": case.weights, "out": str(out)}
        (out / "job.json").write_text(json.dumps(job))
        plain = [str(environment.python("onnxruntime")), str(DRIVERS / "ort_dynamic.py")]
        own = [sys.executable, str(Path(__file__).parent / "cold_build.py")]
        for name, command in (("plain", plain), ("edgepack", own)):
            seconds = _ran([*command, str(out / "job.json")])
            least[name] = min(seconds, least.get(name, seconds))
    return least


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
