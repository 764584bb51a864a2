"""Counts the instructions that an emulated program executes between two marks it makes itself.

A program marks with ``os.lseek(null, MAGIC | START | id, os.SEEK_SET)`` and the same with `STOP`,
where `null` is a descriptor of ``/dev/null`` and `id` lies below 2**24; away from the emulator the
marks do nothing. `plugin.c` sees them from inside qemu-user. Pairs neither nest nor overlap, and
the program has one thread while a pair is open.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

from edgepack import publish
from edgepack.errors import HostError

MAGIC = 0x45504B << 32
START = 1 << 24
STOP = 2 << 24

_COMPILE = ("-x", "c", "-O2", "-shared", "-fPIC", "-")


def build_plugin(folder: Path) -> Path:
    """Compile the plugin for this host into `folder`, or return the one that is there.

    The file's name carries the digest of its source, so a new source never meets an old binary.

    Raises:
        HostError: E316 without gcc, E317 when it fails, E320 when `folder` cannot be written.
    """
    source = files(__name__).joinpath("plugin.c").read_bytes()
    plugin = folder / f"count-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if plugin.exists():
        return plugin
    gcc = shutil.which("gcc")
    if gcc is None:
        raise HostError(
            "E316",
            "instructions cannot be counted without a C compiler",
            why="`gcc` is not on the PATH; it compiles the counting plugin for qemu",
            fix="install gcc and libc6-dev: `apt-get install gcc libc6-dev`",
        )
    with publish.file(plugin) as stage:
        compiled = subprocess.run(
            [gcc, *_COMPILE, "-o", str(stage)], input=source, capture_output=True, check=False
        )
        if compiled.returncode:
            raise HostError(
                "E317",
                "the counting plugin does not compile",
                where=gcc,
                why=compiled.stderr.decode(errors="replace").strip()[-1000:],
                fix="check that gcc compiles for this host: `apt-get install gcc libc6-dev`",
            )
    return plugin


def plugin_arguments(plugin: Path, out: Path) -> list[str]:
    """Return what makes qemu-user load the plugin and write its counts to `out`."""
    # The guest may change folder, and qemu reads a comma as the next option unless it is doubled.
    file, target = (str(path.absolute()).replace(",", ",,") for path in (plugin, out))
    return ["-plugin", f"{file},out={target}"]


def read_counts(path: Path) -> tuple[int, ...]:
    """Return the instructions of each pair of marks, in the order in which the pairs closed.

    A pair counts the way out of its first mark and the way into its second too: mark an empty
    pair and subtract it.

    Raises:
        HostError: E318 when the marks make no sense together, E319 when nothing was counted.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        if line.startswith("error "):
            raise HostError(
                "E318",
                "the instructions cannot be counted",
                where=str(path),
                why=line.removeprefix("error "),
                fix="run one thread, with marks in pairs that neither nest nor overlap",
            )
    if not lines:
        raise HostError(
            "E319",
            "no instructions were counted",
            where=str(path),
            why="the program ended before a pair of marks, or this qemu loads no plugin",
            fix="use a qemu-user that takes `-plugin`, such as the qemu 7.2 of Debian 12",
        )
    return tuple(int(line.split()[1]) for line in lines)
