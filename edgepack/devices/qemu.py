"""An emulated processor: qemu's user mode runs the agent on its instructions."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from edgepack.devices import DeviceInfo, Opening, Outcome, emulator, sysroot
from edgepack.devices.count import build_plugin, plugin_arguments, read_counts
from edgepack.devices.cpus import CPUS, USUAL
from edgepack.devices.process import JobFolder
from edgepack.devices.runtimes import OWN
from edgepack.devices.work import AGENT
from edgepack.errors import HostError, UsageError, did_you_mean
from edgepack.types import digest_of, file_digest

GUEST = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "LC_ALL": "C",
}
"""The guest's whole environment: every variable moves the count."""


EXPECTED = "warning: TCG doesn't support requested feature"
"""What qemu says of every x86 processor: of transactions and a supervisor's features, unused."""

ROOT = "root"
"""The guest's root, within the job's folder."""


class Qemu:
    """``qemu[:CPU]``; the processor's name picks the architecture."""

    real_clock = False
    counts = True

    def __init__(self, address: str, opening: Opening) -> None:
        name = address or USUAL
        if name not in CPUS:
            raise UsageError(
                "E247", f"there is no emulated processor `{name}`", fix=did_you_mean(name, CPUS)
            )
        if opening.package != OWN:
            raise UsageError(
                "E216",
                f"`qemu:{name}` runs {OWN}, and the target's runtime is {opening.package}",
                fix="verify it with `--on local`",
            )
        self.name = f"qemu:{name}"
        self._cpu = CPUS[name]
        self._opening = opening
        self._folder = JobFolder()

    @cached_property
    def _emulator(self) -> emulator.Emulator:
        opening = self._opening
        return emulator.ensure(self._cpu.arch, offline=opening.offline, announce=opening.announce)

    @cached_property
    def _system(self) -> sysroot.Sysroot | None:
        """The guest's files; x86 guests use this machine's own."""
        if self._cpu.arch == "x86_64":
            if platform.machine() != "x86_64":
                raise HostError(
                    "E311",
                    f"{self._cpu.name} is emulated on x86-64 machines only",
                    why=f"it runs this machine's own Python, which is {platform.machine()}",
                    fix="verify on an x86-64 machine",
                )
            return None
        opening = self._opening
        return sysroot.ensure(opening.runtime, offline=opening.offline, announce=opening.announce)

    @cached_property
    def _guest(self) -> list[str]:
        """The emulator's options and the interpreter that it runs."""
        options = ["-cpu", self._cpu.name]
        environment = dict(GUEST)
        python = sys.executable
        if self._system is not None:
            # Paths that the guest sees are the same on every machine: they lie on its stack, and
            # where the stack begins moves the count.
            options += ["-L", ROOT, "-0", f"/usr/bin/python{sysroot.PYTHON}"]
            environment |= {"PYTHONHOME": "/usr", "PYTHONPATH": f"/{sysroot.SITE}"}
            python = f"{ROOT}/usr/bin/python{sysroot.PYTHON}"
        if self._emulator.libraries:
            options += ["-U", "LD_LIBRARY_PATH"]
        options += [part for key, value in environment.items() for part in ("-E", f"{key}={value}")]
        return [*options, python]

    def info(self) -> DeviceInfo:
        """Describe the processor; sets the system up where it is missing."""
        system = self._system
        own = version("onnxruntime")
        runtime = f"onnxruntime {own if system is None else self._opening.runtime}"
        qemu = f"qemu {self._emulator.version}"
        plugin = files("edgepack.devices.count").joinpath("plugin.c").read_text()
        parts = [self._cpu.name, runtime, qemu, plugin, file_digest(AGENT)]
        return DeviceInfo(
            cpu=self._cpu.name,
            arch=self._cpu.arch,
            features=self._cpu.features,
            runtime=runtime,
            emulator=qemu,
            digest=digest_of(*parts, system.digest if system else [sys.version, version("numpy")]),
        )

    def push(self, files: Mapping[str, Path]) -> None:
        """Copy files into the job's folder, and lay the guest's root beside them."""
        self._folder.push(files)
        if self._system is not None:
            root = self._folder.path / ROOT
            root.mkdir()
            self._system.for_cpu(self._cpu, root)

    def run(self, arguments: Sequence[str], *, seconds: float, counted: bool = False) -> Outcome:
        """Run the agent under emulation, once more without the plugin where that does not load."""
        if not counted:
            return self._emulated([], arguments, seconds)
        began = time.monotonic()
        counts = self._folder.path / "counts"
        try:
            plugin = build_plugin(sysroot.cached("plugins"))
        except HostError as problem:
            outcome = self._emulated([], arguments, seconds)
            return replace(outcome, not_counted=_words(problem))
        outcome = self._emulated(plugin_arguments(plugin, counts), arguments, seconds)
        if not counts.exists():  # the plugin makes it as it is loaded
            left = seconds - (time.monotonic() - began)
            why = f"qemu {self._emulator.version} does not load the counting plugin"
            return replace(self._emulated([], arguments, left), not_counted=why)
        if outcome.status != 0:
            return outcome
        try:
            return replace(outcome, counts=read_counts(counts))
        except HostError as problem:
            return replace(outcome, not_counted=_words(problem))

    def _emulated(self, plugin: list[str], arguments: Sequence[str], seconds: float) -> Outcome:
        libraries = self._emulator.libraries
        host = {"LD_LIBRARY_PATH": str(libraries)} if libraries else {}
        command: list[str | Path] = [self._emulator.program]
        command += [*plugin, *self._guest, "-P", "agent.py", *arguments]
        outcome = self._folder.run(command, host, seconds)
        said = (line for line in outcome.stderr.splitlines() if EXPECTED not in line)
        return replace(outcome, stderr="\n".join(said))

    def pull(self, name: str, to: Path) -> None:
        """Copy one file back."""
        self._folder.pull(name, to)

    def close(self) -> None:
        """Remove the job's folders."""
        self._folder.close()


def _words(problem: HostError) -> str:
    what = f"{problem.what}: {problem.why}" if problem.why else problem.what
    return f"{what}; fix: {problem.fix}"
