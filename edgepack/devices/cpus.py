"""The processors that qemu can stand for, and what tells a runtime which one it is on.

ONNX Runtime reads ``/proc/cpuinfo`` to choose kernels. Under emulation it would read the host's, so
each ARM processor gets one of its own, with the part number of Arm's Main ID Register (MIDR_EL1).
"""

from __future__ import annotations

from edgepack.types import Frozen

V8 = ("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid")
V82 = (*V8, "atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp")


class Cpu(Frozen):
    """A processor: qemu's name for it, its architecture, the kernel's words for its features.

    `features` are the words of targets; `part` is the primary part number.
    """

    name: str
    arch: str
    features: tuple[str, ...]
    words: tuple[str, ...] = ()
    implementer: int = 0x41
    part: int = 0

    def cpuinfo(self) -> str:
        """Return what ``/proc/cpuinfo`` says on a one-core machine of this kind."""
        return (
            "processor\t: 0\nBogoMIPS\t: 100.00\n"
            f"Features\t: {' '.join(self.words)}\n"
            f"CPU implementer\t: {self.implementer:#04x}\nCPU architecture: 8\n"
            f"CPU variant\t: 0x0\nCPU part\t: {self.part:#05x}\nCPU revision\t: 3\n\n"
        )


def _arm(name: str, part: int, words: tuple[str, ...], implementer: int = 0x41) -> Cpu:
    features = tuple(word for word in ("asimd", "asimddp", "fp", "i8mm") if word in words)
    return Cpu(
        name=name,
        arch="aarch64",
        features=features,
        words=words,
        implementer=implementer,
        part=part,
    )


def _x86(name: str) -> Cpu:
    return Cpu(name=name, arch="x86_64", features=("avx2",))


CPUS = {
    cpu.name: cpu
    for cpu in (
        _arm("cortex-a35", 0xD04, V8),
        _arm("cortex-a53", 0xD03, V8),
        _arm("cortex-a57", 0xD07, V8),
        _arm("cortex-a72", 0xD08, V8),
        _arm("cortex-a76", 0xD0B, V82),
        _arm("neoverse-n1", 0xD0C, V82),
        _x86("Haswell"),
        _x86("Broadwell"),
        _x86("Skylake-Client"),
        _x86("EPYC"),
    )
}
"""What qemu 7.2 knows and an artifact is proven on. ``max`` is left out: on 7.2 it computes dynamic
int8 wrongly and says nothing. So is ``a64fx``: the runtime crashes there as it is imported."""
USUAL = "cortex-a72"
