"""Fetches Debian packages for any architecture and unpacks them as a user, with apt and dpkg-deb.

apt works on state of its own in a given folder, so that neither root, chroot nor a change to this
machine is needed; the archives are those of the machine's own configuration, and apt checks their
signatures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgepack.errors import HostError

NEEDED = ("apt-get", "dpkg-deb")
SECONDS = 900


def require_debian() -> None:
    """Make sure that this machine has Debian's package tools.

    Raises:
        HostError: E302 on a machine of another kind.
    """
    release = _release()
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if not family & {"debian", "ubuntu"} or missing:
        raise HostError(
            "E302",
            "the emulated system is made from Debian's packages, and this is not Debian or Ubuntu",
            why=f"missing {', '.join(missing)}" if missing else f"this is {release.get('ID', '?')}",
            fix="run edgepack in a Debian 12 container, or verify on a real device",
        )


def unpack(packages: Sequence[str], arch: str, work: Path, to: Path) -> list[str]:
    """Download packages with all they depend on and unpack them into a folder.

    Args:
        packages: names.
        arch: Debian's word for the architecture, such as ``arm64``.
        work: an empty folder for apt's state and the downloads.
        to: the root that receives the files.

    Returns:
        The file names of the packages, which hold their versions.

    Raises:
        HostError: E303 when apt cannot find or download them.
    """
    options = _private_apt(arch, work)
    download = ["install", "--download-only", "--yes", "--no-install-recommends", *packages]
    _run(["apt-get", *options, "update"])
    _run(["apt-get", *options, *download])
    archives = sorted((work / "cache/archives").glob("*.deb"))
    to.mkdir(parents=True, exist_ok=True)
    # With /usr merged, /lib and its like are links that some packages' files go through.
    for name in ("bin", "lib", "sbin"):
        (to / "usr" / name).mkdir(parents=True, exist_ok=True)
        (to / name).symlink_to(f"usr/{name}")
    for archive in archives:
        _run(["dpkg-deb", "--fsys-tarfile", str(archive)], into=to)
    return [archive.name for archive in archives]


def _private_apt(arch: str, work: Path) -> list[str]:
    """Lay out a folder for apt and return the options that keep it inside."""
    for name in ("lists/partial", "cache/archives/partial", "dpkg"):
        (work / name).mkdir(parents=True)
    (work / "dpkg/status").touch()
    (work / "sources.list").write_text("".join(_sources(arch)))
    settings = {
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Sandbox::User": "root",
        "APT::Install-Suggests": "0",
        "Acquire::Languages": "none",
        "Dir::State": str(work),
        "Dir::State::lists": str(work / "lists"),
        "Dir::State::status": str(work / "dpkg/status"),
        "Dir::Cache": str(work / "cache"),
        "Dir::Etc::sourcelist": str(work / "sources.list"),
        "Dir::Etc::sourceparts": "-",
        "Debug::NoLocking": "1",
    }
    return ["-q", *(part for key, value in settings.items() for part in ("-o", f"{key}={value}"))]


def _sources(arch: str) -> list[str]:
    """Return the distribution's own archives, as this machine is configured for them."""
    form = "$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)"
    told = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    rows = {tuple(line.split("|")) for line in told.splitlines() if line.count("|") == 3}
    lines = sorted(
        f"deb [arch={arch}] {site} {suite} {component}\n"
        for origin, site, suite, component in rows
        if origin in {"Debian", "Ubuntu"}
    )
    if not lines:
        raise HostError(
            "E303",
            "apt knows no archive of Debian's packages",
            fix="run `apt-get update`, then the same command again",
        )
    return lines


def _run(command: list[str], into: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=SECONDS, check=False
        )
        if done.returncode == 0 and into is not None:
            # Not `dpkg-deb -x`: it would replace the links of a merged /usr by folders.
            done = subprocess.run(
                [
                    "tar",
                    "--extract",
                    "--keep-directory-symlink",
                    "--no-same-owner",
                    "-C",
                    str(into),
                ],
                input=done.stdout,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise _failed(command[0], f"no end after {SECONDS} s") from None
    if done.returncode != 0:
        raise _failed(command[0], done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace") if into is None else ""


def _failed(tool: str, said: str) -> HostError:
    last = [line for line in said.strip().splitlines() if line.strip()][-3:]
    return HostError(
        "E303",
        "Debian's packages cannot be fetched",
        why=f"{tool}: {'; '.join(last) or 'it failed'}",
        fix="check the network, then `edgepack doctor --fix arm64`",
    )


def _release() -> dict[str, str]:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value.strip("\"'") for key, _, value in pairs}
