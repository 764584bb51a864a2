"""Runtimes of targets that the build machine's own cannot stand for, each in its own folder.

CACHE/runtimes/PACKAGE-VERSION-PYTHON/site       the packages, and nothing of this environment
CACHE/runtimes/PACKAGE-VERSION-PYTHON/seal.json  what was installed, and the SHA-256 of every file

Packages that import under one name cannot lie in one environment. An interpreter that is started
with `-S` and this folder as its path sees the runtime, what it needs, and the standard library.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from pydantic import ValidationError

from edgepack import publish
from edgepack.devices.sysroot import cached
from edgepack.errors import HostError
from edgepack.types import Frozen, canonical_json, digest_of, file_digest

OWN = "onnxruntime"
"""The package that edgepack itself runs with."""
WITH = ("numpy==2.4.6", "flatbuffers==25.12.19", "packaging==26.3", "protobuf==7.36.2")
PINS = {("onnxruntime-openvino", "1.24.1"): WITH}
"""What each runtime is installed with, as in constraints.txt."""
VITAL = ("onnxruntime_pybind11_state", "libonnxruntime", "plugin.so")
"""Parts of names of the libraries that are hashed each time."""


class _Seal(Frozen):
    """seal.json: what a runtime was made from, and the SHA-256 of each file in it."""

    wheels: tuple[str, ...]
    files: dict[str, str]


@dataclass(frozen=True)
class Runtime:
    """A runtime that is set up.

    Attributes:
        site: the folder that its interpreter imports from.
        digest: SHA-256 over every file in it.
    """

    site: Path
    digest: str


def fix(package: str) -> str:
    """Return the command that sets a runtime up ahead of its first use."""
    return f"edgepack doctor --fix {package}"


def place(package: str, version: str) -> Path:
    """Return where a runtime lies, there or not."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return publish.cache_root() / "runtimes" / f"{package}-{version}-{python}"


def ensure(
    package: str, version: str, *, offline: bool, announce: Callable[[str], None]
) -> Runtime:
    """Return a runtime, set up first where it is missing or damaged.

    Raises:
        HostError: E312 when it is missing and must not be fetched, E313 when pip fails, E314 for
            one that is not known, E315 when what pip installed is something else.
    """
    path = place(package, version)
    if (found := _found(path)) is not None:
        return found
    state = "damaged" if path.exists() else "not set up"
    if (package, version) not in PINS:
        raise HostError(
            "E314",
            f"{package} {version} is not known as a target's runtime",
            fix=f"choose {OWN}, or one of {', '.join(f'{p} {v}' for p, v in PINS)}",
        )
    if offline:
        raise HostError(
            "E312",
            f"the runtime {package} {version} is {state}, and --offline forbids to fetch it",
            fix=f"run `{fix(package)}` once with the network",
        )
    with publish.locked(cached("runtimes"), f"{path.name}.setup"):
        if (found := _found(path)) is not None:  # another process was faster
            return found
        announce(
            f"the runtime {package} {version} is {state}; setting it up once, about 110 MB from "
            "the package index"
        )
        wheels = (f"{package}=={version}", *PINS[package, version])
        with publish.folder(path) as stage:
            _install(wheels, stage / "site")
            _require(wheels, stage / "site")
            seal = _Seal(wheels=wheels, files=_digests(stage / "site"))
            (stage / "seal.json").write_bytes(canonical_json(seal.model_dump(mode="json")))
    return Runtime(path / "site", digest_of(seal.files))


def check(path: Path) -> list[str]:
    """Hash every file of a runtime and name those that changed, are missing, or came in."""
    seal = _seal(path)
    if seal is None:
        return ["seal.json"]
    found = _digests(path / "site")
    return sorted(name for name in {*found, *seal} if found.get(name) != seal.get(name))


def _install(wheels: tuple[str, ...], site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", "--target", str(site), *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = [line for line in done.stderr.strip().splitlines() if line][-2:]
        raise HostError(
            "E313",
            f"pip cannot fetch {wheels[0]}",
            why="; ".join(last),
            fix="see whether pip reaches the package index, then try again",
        )


def _require(wheels: tuple[str, ...], site: Path) -> None:
    """Hold what was installed against what was asked for."""
    there = {f"{d.metadata['Name']}=={d.version}" for d in distributions(path=[str(site)])}
    if lost := sorted(set(wheels) - there):
        raise HostError(
            "E315",
            "the runtime that pip installed is not the one that was asked for",
            why=f"there is no {', '.join(lost)} among {', '.join(sorted(there)) or 'nothing'}",
            fix="check pip's settings, then try again",
        )


def _digests(site: Path) -> dict[str, str]:
    """Hash the files; bytecode that an interpreter leaves is none of the package's."""
    files = (p for p in sorted(site.rglob("*")) if p.is_file() and p.suffix != ".pyc")
    return {str(p.relative_to(site)): file_digest(p) for p in files}


def _seal(path: Path) -> dict[str, str] | None:
    try:
        return _Seal.model_validate_json((path / "seal.json").read_bytes()).files
    except (OSError, ValidationError):
        return None


def _found(path: Path) -> Runtime | None:
    """Return the runtime if its seal is there and the libraries that matter most are whole."""
    seal = _seal(path)
    if seal is None:
        return None
    vital = [name for name in seal if any(part in name for part in VITAL)]
    whole = vital and all(
        (path / "site" / name).is_file() and file_digest(path / "site" / name) == seal[name]
        for name in vital
    )
    return Runtime(path / "site", digest_of(seal)) if whole else None
