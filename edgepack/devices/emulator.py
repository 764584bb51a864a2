"""qemu's user-mode emulators: those of this machine, or unpacked into the user's cache."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgepack import publish
from edgepack.devices.debian import require_debian, unpack
from edgepack.devices.sysroot import cached
from edgepack.errors import HostError

OLDEST = (7, 2)
"""Before it, qemu emulates no AVX2 and fewer of ARM's processors."""
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Emulator:
    """A program that runs another architecture's programs.

    Attributes:
        program: its path.
        version: such as ``7.2.22``.
        libraries: a folder of the libraries it needs, where they are not the machine's own.
    """

    program: Path
    version: str
    libraries: Path | None = None


def ensure(arch: str, *, offline: bool, announce: Callable[[str], None]) -> Emulator:
    """Return the emulator for an architecture, unpacked into the cache where none is installed.

    Raises:
        HostError: E307 when it is missing and must not be fetched; E302, E303 as `debian.unpack`.
    """
    name = f"qemu-{arch}"
    if found := shutil.which(name):
        return Emulator(Path(found), _version(Path(found)))
    host = DEBIAN.get(platform.machine(), platform.machine())
    path = publish.cache_root() / f"sysroots/qemu-{host}"
    if not path.is_dir():
        if offline:
            raise HostError(
                "E307",
                f"{name} is not installed, and --offline forbids to fetch it",
                fix="run `apt-get install qemu-user`, or `edgepack doctor --fix arm64`",
            )
        require_debian()
        with publish.locked(cached("sysroots"), f"{path.name}.setup"):
            if not path.is_dir():  # no other process was faster
                announce("unpacking qemu-user into the cache, about 40 MB from Debian's archive")
                _unpack(host, path)
    libraries = path / "usr/lib" / f"{platform.machine()}-linux-gnu"
    program = path / "usr/bin" / name
    return Emulator(program, _version(program, libraries), libraries)


def _unpack(host: str, path: Path) -> None:
    with publish.folder(path) as stage, tempfile.TemporaryDirectory() as work:
        unpack(["qemu-user"], host, Path(work), stage)
        for program in (stage / "usr/bin").glob("qemu-*"):
            if program.name.removeprefix("qemu-") not in DEBIAN:
                program.unlink()


def _version(program: Path, libraries: Path | None = None) -> str:
    environment = {"LD_LIBRARY_PATH": str(libraries)} if libraries else {}
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, env=environment, check=False
    )
    match = re.search(r"version (\d+(?:\.\d+)+)", done.stdout)
    if not match:
        raise HostError(
            "E308",
            f"{program.name} does not run",
            why=done.stderr.strip()[-300:],
            fix="run `apt-get install qemu-user`",
        )
    if tuple(int(part) for part in match[1].split(".")) < OLDEST:
        raise HostError(
            "E308",
            f"{program.name} {match[1]} is too old",
            where=str(program),
            fix=f"install qemu-user {'.'.join(map(str, OLDEST))} or later, as in Debian 12",
        )
    return match[1]
