"""Examines this machine: what is there, what is missing, and what mends it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgepack import publish
from edgepack.api import store
from edgepack.cache import Cache
from edgepack.devices import Opening, emulator, runtimes, sysroot
from edgepack.devices.local import Local
from edgepack.errors import HostError
from edgepack.spec.target import load_target, names
from edgepack.types import Frozen

FIX = "edgepack doctor --fix arm64"
PACKAGES = {
    "onnxruntime": "runs every model",
    "torch": "torch models, compression",
    "transformers": "models in transformers folders",
    "torch-pruning": "the pass `prune`",
}
"""What is imported only when it is needed, and what for."""
ROOM = 2_000_000_000
"""Bytes that the emulated systems and the builds of a usual model take."""


class Finding(Frozen):
    """One thing that was looked for; `fix` is a command, or empty where nothing is missing."""

    name: str
    there: bool
    what: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look for all that the verbs need; nothing is changed or fetched."""
    found = [_package(name, use) for name, use in PACKAGES.items()]
    found += [_emulator(arch) for arch in ("aarch64", "x86_64")]
    found += [_system(runtime) for runtime in _runtimes()]
    found += [_own(package, runtime) for package, runtime in _others()]
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
    return [*found, _temporary(), _room(), _cache()]


def mend(what: str, *, offline: bool, announce: Callable[[str], None]) -> None:
    """Set up what targets need; what is damaged is made again.

    Args:
        what: ``arm64``, for the emulators and each target's arm64 system, or a runtime's package.
        offline: never use the network.
        announce: called with one sentence before a long set-up begins.

    Raises:
        HostError: as `sysroot.ensure`, `emulator.ensure` and `runtimes.ensure`.
    """
    for package, runtime in _others():
        if package == what:
            _afresh(runtimes.place(package, runtime), runtimes.check, announce)
            runtimes.ensure(package, runtime, offline=offline, announce=announce)
    if what != "arm64":
        return
    for arch in ("aarch64", "x86_64"):
        emulator.ensure(arch, offline=offline, announce=announce)
    for runtime in _runtimes():
        _afresh(sysroot.place(runtime), sysroot.check, announce)
        sysroot.ensure(runtime, offline=offline, announce=announce)


def _afresh(
    path: Path, check: Callable[[Path], list[str]], announce: Callable[[str], None]
) -> None:
    """Remove what is damaged, so that it is made again."""
    if path.is_dir() and (wrong := check(path)):
        announce(f"{len(wrong)} files of {path.name} are damaged; it is made again")
        shutil.rmtree(path)


def _others() -> list[tuple[str, str]]:
    """Return the runtimes of targets that are not edgepack's own."""
    found = {(t.runtime.package, t.runtime.version) for t in map(load_target, names())}
    return sorted(one for one in found if one[0] != runtimes.OWN)


def _own(package: str, runtime: str) -> Finding:
    name, fix = f"{package} {runtime}", runtimes.fix(package)
    path = runtimes.place(package, runtime)
    if not path.is_dir():
        return Finding(name=name, there=False, what="a target's runtime, not set up", fix=fix)
    if wrong := runtimes.check(path):
        return Finding(name=name, there=False, what=f"damaged: {', '.join(wrong[:3])}", fix=fix)
    return Finding(name=name, there=True, what="a target's runtime, set up and whole")


def _runtimes() -> list[str]:
    targets = [load_target(name) for name in names()]
    return sorted({t.runtime.version for t in targets if t.isa.arch == "aarch64"})


def _package(name: str, use: str) -> Finding:
    try:
        return Finding(name=name, there=True, what=f"{version(name)}: {use}")
    except PackageNotFoundError:
        extra = "" if name == "onnxruntime" else "[torch]"
        fix = f"pip install 'edgepack{extra}'"
        return Finding(name=name, there=False, what=f"not installed: {use}", fix=fix)


def _temporary() -> Finding:
    name = "temporary folder"
    try:
        with tempfile.TemporaryFile() as probe:
            probe.write(b"edgepack")
        return Finding(name=name, there=True, what="can be written")
    except OSError as problem:
        what = f"cannot be written: {problem.strerror or problem}"
        return Finding(name=name, there=False, what=what, fix="export TMPDIR=FOLDER")


def _room() -> Finding:
    free = store.free(publish.cache_root())
    what = f"{free / 1e9:.3g} GB free for the cache"
    fix = "" if free >= ROOM else "edgepack cache prune --keep 500MB"
    return Finding(name="disk", there=free >= ROOM, what=what, fix=fix)


def _cache() -> Finding:
    root = publish.cache_root()
    try:
        Cache(root)
    except HostError as problem:
        what = f"{problem.where}: {problem.why}"
        return Finding(name="cache", there=False, what=what, fix="export EDGEPACK_CACHE=FOLDER")
    if wrong := store.verify(root, fix=False):
        what = f"{len(wrong)} entries are damaged, the first: {wrong[0].why}"
        return Finding(name="cache", there=False, what=what, fix="edgepack cache verify --fix")
    return Finding(name="cache", there=True, what=f"{root}, whole")


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
