"""Olive's automatic optimisation to int8 of the plain export."""

import shutil
import subprocess
import sys
from pathlib import Path

from job import read

job = read()

out = Path(job["out"])
command = [sys.executable, "-m", "olive", "auto-opt", "-m", job["float"]]
command += ["--device", "cpu", "--provider", "CPUExecutionProvider", "--precision", "int8"]
command += ["--disable_telemetry"]
done = subprocess.run([*command, "-o", str(out / "olive")], capture_output=True, text=True)
if done.returncode != 0:
    sys.exit(done.stderr or done.stdout)
found = sorted((out / "olive").rglob("*.onnx"), key=lambda path: path.stat().st_mtime)
shutil.copyfile(found[-1], out / "model.onnx")
