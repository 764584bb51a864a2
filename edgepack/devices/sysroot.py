"""The emulated system: Debian's arm64 Python and the pinned ONNX Runtime, in the user's cache.

CACHE/sysroots/arm64-RUNTIME/root     the files
CACHE/sysroots/arm64-RUNTIME/seal.json  packages, wheels, and the SHA-256 of every file
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgepack import publish
from edgepack.devices.cpus import Cpu
from edgepack.devices.debian import require_debian, unpack
from edgepack.errors import HostError
from edgepack.types import Frozen, canonical_json, digest_of, file_digest

PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "libgcc-s1", "libc-bin")
WHEELS = {
    "1.31.1": ("numpy==2.4.6", "flatbuffers==25.12.19", "packaging==26.3", "protobuf==7.36.2"),
}
"""What each version of onnxruntime runs with, as in constraints.txt."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
PYTHON = "3.11"
SITE = "opt/site"
FIX = "edgepack doctor --fix arm64"


class _Seal(Frozen):
    """seal.json: what a system was made from, and the SHA-256 of each file in it."""

    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    files: dict[str, str]


@dataclass(frozen=True)
class Sysroot:
    """A system that is set up.

    Attributes:
        path: its folder in the cache.
        digest: SHA-256 over every file in it.
    """

    path: Path
    digest: str

    @property
    def root(self) -> Path:
        """What the guest sees as ``/``."""
        return self.path / "root"

    def for_cpu(self, cpu: Cpu, folder: Path) -> Path:
        """Lay a root of links over this one in `folder`, with the processor's own cpuinfo."""
        for item in self.root.iterdir():
            (folder / item.name).symlink_to(item)
        (folder / "proc").mkdir()
        (folder / "proc/cpuinfo").write_text(cpu.cpuinfo())
        return folder


def cached(name: str) -> Path:
    """Return a private folder of the cache, made where it is missing.

    Raises:
        HostError: E320 when it cannot be made or written.
    """
    path = publish.cache_root() / name
    with suppress(OSError):  # the check names it
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    publish.check_folder(path)
    return path


def place(runtime: str) -> Path:
    """Return where the system for a version of onnxruntime lies, there or not."""
    return publish.cache_root() / "sysroots" / f"arm64-{runtime}"


def ensure(runtime: str, *, offline: bool, announce: Callable[[str], None]) -> Sysroot:
    """Return the system, set up first where it is missing or damaged.

    The interpreter and the runtime's library are hashed each time; `check` hashes all.

    Raises:
        HostError: E301 when it is missing and must not be fetched, E302 on another kind of machine,
            E303 when packages cannot be fetched, E304 for an unknown version, E305 when pip fails.
    """
    path = place(runtime)
    if (found := _found(path)) is not None:
        return found
    state = "damaged" if path.exists() else "not set up"
    if offline:
        raise HostError(
            "E301",
            f"the emulated arm64 system is {state}, and --offline forbids to fetch it",
            fix=f"run `{FIX}` once with the network",
        )
    if runtime not in WHEELS:
        raise HostError(
            "E304",
            f"onnxruntime {runtime} is not known for arm64",
            fix=f"choose one of {', '.join(WHEELS)} as the target's runtime.version",
        )
    require_debian()
    with publish.locked(cached("sysroots"), f"{path.name}.setup"):
        if (found := _found(path)) is not None:  # another process was faster
            return found
        announce(
            f"the emulated arm64 system is {state}; setting it up once: Debian's Python and "
            f"onnxruntime {runtime}, about 60 MB from Debian's archive and the package index"
        )
        with publish.folder(path) as stage:
            _build(runtime, stage)
    return _sealed(path)


def check(path: Path) -> list[str]:
    """Hash every file of a system and name those that changed, are missing, or came in."""
    seal = _seal(path)
    if seal is None:
        return ["seal.json"]
    found = _digests(path / "root")
    return sorted(name for name in {*found, *seal} if found.get(name) != seal.get(name))


def _build(runtime: str, stage: Path) -> None:
    root = stage / "root"
    with tempfile.TemporaryDirectory(prefix="edgepack-apt-") as work:
        packages = unpack(PACKAGES, "arm64", Path(work), root)
    found = {path.name for path in root.glob("usr/bin/python3.*")}
    if found and f"python{PYTHON}" not in found:
        raise HostError(
            "E309",
            f"the emulated arm64 system needs Python {PYTHON}, which Debian 12 has",
            why="the archives that this machine is configured for have another one",
            fix="run edgepack in a Debian 12 container, or verify on a real device",
        )
    wheels = (f"onnxruntime=={runtime}", *WHEELS[runtime])
    _install(wheels, root / SITE)
    for part in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / part, ignore_errors=True)
    _compile(root)
    seal = _Seal(packages=tuple(packages), wheels=wheels, files=_digests(root))
    (stage / "seal.json").write_bytes(canonical_json(seal.model_dump(mode="json")))


def _install(wheels: tuple[str, ...], site: Path) -> None:
    platforms = [f"--platform={name}_aarch64" for name in PLATFORMS]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--target", str(site), "--only-binary=:all:", f"--python-version={PYTHON}"]
    command += ["--implementation=cp", "--abi=cp311", *platforms, "--platform=any", *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = [line for line in done.stderr.strip().splitlines() if line][-2:]
        raise HostError(
            "E305", "pip cannot fetch the arm64 wheels", why="; ".join(last), fix=f"run `{FIX}`"
        )


def _compile(root: Path) -> None:
    """Compile everything once: a run that writes bytecode executes other instructions."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        return
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(root), "-p", "/"]  # a stage's name must not stay in the files
    folders = [str(root / f"usr/lib/python{PYTHON}"), str(root / SITE)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    # Some packages hold files for other versions of Python, which do not compile; none is imported.
    subprocess.run([*command, *folders], env=environment, capture_output=True, check=False)


def _digests(root: Path) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file() and not p.is_symlink())
    return {str(p.relative_to(root)): file_digest(p) for p in files}


def _seal(path: Path) -> dict[str, str] | None:
    try:
        return _Seal.model_validate_json((path / "seal.json").read_bytes()).files
    except (OSError, ValidationError):
        return None


def _found(path: Path) -> Sysroot | None:
    """Return the system if its seal is there and the files that matter most are whole."""
    seal = _seal(path)
    if seal is None:
        return None
    vital = [n for n in seal if n == f"usr/bin/python{PYTHON}" or "onnxruntime_pybind11_state" in n]
    whole = vital and all(
        (path / "root" / name).is_file() and file_digest(path / "root" / name) == seal[name]
        for name in vital
    )
    return Sysroot(path, digest_of(seal)) if whole else None


def _sealed(path: Path) -> Sysroot:
    found = _found(path)
    if found is None:
        raise HostError(
            "E306", "the emulated arm64 system is not whole", where=str(path), fix=f"run `{FIX}`"
        )
    return found
