"""This machine as a device."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from edgepack.devices import DeviceInfo, Opening, Outcome
from edgepack.devices.process import JobFolder
from edgepack.devices.runtimes import OWN, Runtime, ensure
from edgepack.devices.work import AGENT
from edgepack.errors import UsageError
from edgepack.types import digest_of, file_digest

FEATURES = {
    "avx2": "avx2", "avx512f": "avx512f", "avx512_vnni": "vnni", "avx_vnni": "vnni",
    "amx_int8": "amx", "fp": "fp", "asimd": "asimd", "asimddp": "asimddp", "i8mm": "i8mm",
}  # fmt: skip
"""What the kernel calls a feature, and what targets call it."""


class Local:
    """The interpreter that edgepack itself runs with, and its runtime or the target's own."""

    real_clock = True
    counts = False

    def __init__(self, address: str, opening: Opening) -> None:
        if address:
            raise UsageError("E246", f"`local:{address}` is no device", fix="write `local` alone")
        self.name = "local"
        self._opening = opening
        self._folder = JobFolder()

    @cached_property
    def _runtime(self) -> Runtime | None:
        """The target's runtime, where it is another package than edgepack's own."""
        opening = self._opening
        if opening.package == OWN:
            return None
        return ensure(
            opening.package, opening.runtime, offline=opening.offline, announce=opening.announce
        )

    def info(self) -> DeviceInfo:
        """Read the processor from the kernel."""
        source = Path("/proc/cpuinfo")
        text = source.read_text(errors="replace") if source.exists() else ""
        pairs = (line.partition(":") for line in text.splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        words = (fields.get("flags") or fields.get("Features") or "").split()
        features = tuple(sorted({FEATURES[word] for word in words if word in FEATURES}))
        cpu = fields.get("model name") or platform.machine()
        other, opening = self._runtime, self._opening
        runtime = f"{opening.package} {opening.runtime}" if other else f"{OWN} {version(OWN)}"
        return DeviceInfo(
            cpu=cpu,
            arch=platform.machine(),
            features=features,
            runtime=runtime,
            emulator="",
            digest=digest_of(
                cpu, list(features), runtime, file_digest(AGENT), *([other.digest] if other else [])
            ),
        )

    def push(self, files: Mapping[str, Path]) -> None:
        """Copy files into the job's folder."""
        self._folder.push(files)

    def run(
        self,
        arguments: Sequence[str],
        *,
        seconds: float,
        counted: bool = False,
    ) -> Outcome:
        """Run the agent with this interpreter; another runtime's sees that runtime alone."""
        alone, environment = [], {"PYTHONHASHSEED": "0", "PATH": ""}
        if self._runtime:
            alone = ["-S"]
            environment |= {"PYTHONPATH": str(self._runtime.site), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-P", *alone, "agent.py", *arguments]
        return self._folder.run(command, environment, seconds)

    def pull(self, name: str, to: Path) -> None:
        """Copy one file back."""
        self._folder.pull(name, to)

    def close(self) -> None:
        """Remove the job's folder."""
        self._folder.close()
