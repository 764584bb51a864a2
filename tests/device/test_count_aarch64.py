"""The counting plugin against a hand-assembled AArch64 program: every instruction is ours."""

import struct
import subprocess

import pytest

from edgepack.devices import count

QEMU = "qemu-aarch64"
SVC, NOP, SUBS_X2, BACK_2_IF_NOT_ZERO = 0xD4000001, 0xD503201F, 0xF1000442, 0x54FFFFC1
LSEEK, EXIT = 62, 93
BASE, HEADERS = 0x400000, 64 + 56

pytestmark = pytest.mark.emulated


def load(register: int, value: int) -> list[int]:
    """Assemble four moves, 16 bits each: movz, then movk."""
    halves = [value >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
    return [
        (0xF2800000 if position else 0xD2800000) | position << 21 | half << 5 | register
        for position, half in enumerate(halves)
    ]


def program(turns: int) -> bytes:
    """Return an ELF file that marks, loops three instructions `turns` times, and marks again."""
    words = [
        *load(8, LSEEK), *load(1, count.MAGIC | count.START | 5), SVC,
        *load(2, turns), NOP, SUBS_X2, BACK_2_IF_NOT_ZERO,
        *load(1, count.MAGIC | count.STOP | 5), SVC,
        *load(8, EXIT), *load(0, 0), SVC,
    ]  # fmt: skip
    code = struct.pack(f"<{len(words)}I", *words)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, 183, 1, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )  # fmt: skip
    size = HEADERS + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    return ident + header + segment + code


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72", "neoverse-n1"])
@pytest.mark.parametrize("turns", [1, 1000, 1_000_000])
def test_every_instruction_between_the_marks_and_no_other(tmp_path, cpu, turns):
    guest = tmp_path / "guest"
    guest.write_bytes(program(turns))
    guest.chmod(0o755)
    arguments = count.plugin_arguments(count.build_plugin(tmp_path), tmp_path / "counts")
    subprocess.run([QEMU, "-cpu", cpu, *arguments, str(guest)], check=True, timeout=60)
    loads_of_turns, loads_of_mark, call = 4, 4, 1
    expected = loads_of_turns + 3 * turns + loads_of_mark + call
    assert count.read_counts(tmp_path / "counts") == (expected,)
