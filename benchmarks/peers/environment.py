"""One environment a peer, in the user's cache, made once for its pins.

CACHE/peers/NAME-KEY/        a virtual environment
CACHE/peers/NAME-KEY/sealed  written last, so that one that was cut short is made again
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from edgepack import publish

TORCH = "torch==2.13.0"
"""Named in a step of its own, first: an open range would bring several GB of CUDA packages."""
ORT = ("onnx==1.23.2", "onnxruntime==1.31.1")
PINS: dict[str, tuple[str, ...]] = {
    "onnxruntime": (TORCH, "transformers==5.23.0", "onnxscript==0.7.2", "sympy==1.14.0", *ORT),
    "openvino": ("openvino==2026.4.0", "nncf==3.4.0", "onnx==1.23.2"),
    "nncf": ("nncf==3.4.0", *ORT),
    "olive": (
        TORCH,
        "olive-ai==0.13.0",
        "requests==2.34.2",
        "transformers==5.23.0",
        "onnxscript==0.7.2",
        *ORT,
    ),
    "optimum": (TORCH, "optimum-onnx[onnxruntime]==0.1.0", "transformers==4.57.6"),
    "executorch": (TORCH, "executorch==1.5.1", "transformers==5.23.0"),
    "litert": (TORCH, "litert-torch==0.10.0", "transformers==5.23.0"),
}
"""What each environment is made of; a peer that needs no torch gets none."""
SECONDS = 900
"""Time that one environment may take to be made."""


class Failed(Exception):  # noqa: N818  a finding about the peer, which the table shows
    """A peer could not do its work; the message is the last line of what it said."""


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it said nothing"


def place(name: str) -> Path:
    """Return where a peer's environment lies, there or not."""
    told = "\n".join((f"{sys.version_info.major}.{sys.version_info.minor}", *PINS[name]))
    key = hashlib.sha256(told.encode()).hexdigest()[:12]
    return publish.cache_root() / "peers" / f"{name}-{key}"


def python(name: str) -> Path:
    """Return the interpreter of a peer's environment, made first where it is missing.

    Raises:
        Failed: when pip cannot install it, or takes longer than `SECONDS`.
    """
    path = place(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with publish.locked(path.parent, path.name):
        if not (path / "sealed").is_file():
            print(f"setting up {name} once: {', '.join(PINS[name])}", flush=True)
            shutil.rmtree(path, ignore_errors=True)
            _make(name, path)
            (path / "sealed").write_text("\n".join(PINS[name]))
    return path / "bin/python"


def _make(name: str, path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
    constraints = path / "constraints.txt"
    constraints.write_text(TORCH + "\n")
    install = [str(path / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input"]
    for part in ([TORCH], list(PINS[name])):
        if part == [TORCH] and TORCH not in PINS[name]:
            continue
        try:
            subprocess.run(
                [*install, "--constraint", str(constraints), *part],
                capture_output=True, text=True, check=True, timeout=SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"pip took longer than {SECONDS} s") from None
        except subprocess.CalledProcessError as problem:
            raise Failed(last_line(problem.stderr)) from problem
