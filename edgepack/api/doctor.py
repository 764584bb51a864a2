"""Examines this machine: what is there, what is missing, and what mends it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from edgepack import publish
from edgepack.devices import Opening, emulator, sysroot
from edgepack.devices.local import Local
from edgepack.errors import HostError
from edgepack.spec.target import load_target, names
from edgepack.types import Frozen

FIX = "edgepack doctor --fix arm64"


class Finding(Frozen):
    """One thing that was looked for; `fix` is a command, or empty where nothing is missing."""

    name: str
    there: bool
    what: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look for all that the verbs need; nothing is changed or fetched."""
    found = [_package("torch", "torch and transformers models, compression")]
    found += [_emulator(arch) for arch in ("aarch64", "x86_64")]
    found += [_system(runtime) for runtime in _runtimes()]
    gcc = shutil.which("gcc") is not None
    what = "builds the counting plugin" if gcc else "without it instructions are not counted"
    found.append(
        Finding(name="gcc", there=gcc, what=what, fix="" if gcc else "apt-get install gcc")
    )
    channel = Local("", Opening(""))
    info = channel.info()
    channel.close()
    features = ", ".join(info.features) or "no feature that a target asks for"
    found.append(Finding(name="this machine", there=True, what=f"{info.cpu}: {features}"))
    found.append(Finding(name="cache", there=True, what=str(publish.cache_root())))
    return found


def mend(*, offline: bool, announce: Callable[[str], None]) -> None:
    """Set up the emulators and each target's arm64 system; one that is damaged is made again.

    Raises:
        HostError: as `sysroot.ensure` and `emulator.ensure`.
    """
    for arch in ("aarch64", "x86_64"):
        emulator.ensure(arch, offline=offline, announce=announce)
    for runtime in _runtimes():
        path = sysroot.place(runtime)
        if path.is_dir() and (wrong := sysroot.check(path)):
            announce(f"{len(wrong)} files of the emulated system are damaged; it is made again")
            shutil.rmtree(path)
        sysroot.ensure(runtime, offline=offline, announce=announce)


def _runtimes() -> list[str]:
    targets = [load_target(name) for name in names()]
    return sorted({t.runtime.version for t in targets if t.isa.arch == "aarch64"})


def _package(name: str, use: str) -> Finding:
    try:
        return Finding(name=name, there=True, what=f"{version(name)}: {use}")
    except PackageNotFoundError:
        fix = "pip install 'edgepack[torch]'"
        return Finding(name=name, there=False, what=f"not installed: {use}", fix=fix)


def _emulator(arch: str) -> Finding:
    name = f"qemu-{arch}"
    try:
        found = emulator.ensure(arch, offline=True, announce=lambda _: None)
    except HostError as problem:
        return Finding(name=name, there=False, what=problem.what, fix=FIX)
    return Finding(name=name, there=True, what=f"qemu {found.version}")


def _system(runtime: str) -> Finding:
    name = f"arm64 system, onnxruntime {runtime}"
    path = sysroot.place(runtime)
    if not path.is_dir():
        return Finding(name=name, there=False, what="not set up", fix=FIX)
    if wrong := sysroot.check(path):
        return Finding(name=name, there=False, what=f"damaged: {', '.join(wrong[:3])}", fix=FIX)
    return Finding(name=name, there=True, what="set up and whole")
