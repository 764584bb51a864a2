"""The counting plugin, held against programs whose instructions are known by arithmetic."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgepack.devices import count
from edgepack.errors import HostError

QEMU = "qemu-x86_64"
LOOP = 4  # instructions of one turn of `work`

GUEST = f"""
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static int null;
static _Atomic int awake;
static void start(int id) {{ lseek(null, INT64_C({count.MAGIC | count.START}) | id, SEEK_SET); }}
static void stop(int id) {{ lseek(null, INT64_C({count.MAGIC | count.STOP}) | id, SEEK_SET); }}
static void *thread(void *x) {{ return x; }}
static void *sleeper(void *x) {{ awake = 1; pause(); return x; }}

static void work(long turns)
{{
    __asm__ volatile("1: nop; nop; dec %0; jnz 1b" : "+r"(turns));
}}

int main(int argc, char **steps)
{{
    pthread_t other;
    null = open("/dev/null", O_RDONLY);
    while (*++steps) {{
        int argument = atoi(*steps + 1);
        switch (**steps) {{
        case '+': start(argument); break;
        case '-': stop(argument); break;
        case 'w': work(argument); break;
        case 'c': close(argument); break;
        case 'd': chdir("/"); break;
        case 'f': if (!fork()) _exit(0); break;
        case 's': pthread_create(&other, 0, sleeper, 0); while (!awake); break;
        case 't': pthread_create(&other, 0, thread, 0); pthread_join(other, 0); break;
        case 'o': lseek(null, argument, SEEK_SET); break;
        case '?': lseek(null, INT64_C({count.MAGIC | 3 << 24}), SEEK_SET); break;
        }}
    }}
}}
"""

pytestmark = pytest.mark.emulated


@dataclass(frozen=True)
class Guest:
    """A program that takes its steps as arguments, e.g. ``+0 w1000 -0``."""

    program: Path
    plugin: Path

    def counts(self, steps: str, out: Path) -> tuple[int, ...]:
        arguments = count.plugin_arguments(self.plugin, out)
        command = [str(QEMU), *arguments, str(self.program), *steps.split()]
        subprocess.run(command, check=True, env={}, cwd=out.parent, timeout=60)
        return count.read_counts(out)


@pytest.fixture(scope="module")
def guest(tmp_path_factory) -> Guest:
    folder = tmp_path_factory.mktemp("guest")
    program = folder / "guest"
    command = ["gcc", "-O2", "-static", "-pthread", "-include", "stdint.h", "-x", "c", "-"]
    subprocess.run([*command, "-o", str(program)], input=GUEST, text=True, check=True)
    return Guest(program, count.build_plugin(folder))


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "counts"


def test_a_loop_counts_what_arithmetic_says(guest, out):
    empty, once, twice = guest.counts("+0 -0 +1 w100000 -1 +2 w200000 -2", out)
    assert twice - once == 100_000 * LOOP
    assert 0 < empty < 200
    assert 0 < once - empty - 100_000 * LOOP < 1000  # the guest finds its next step meanwhile


def test_a_pair_counts_the_same_wherever_it_stands(guest, out):
    assert len(set(guest.counts("+1 w7 -1 w12345 t +2 w7 -2 +1 w7 -1", out))) == 1


def test_threads_that_ended_are_forgotten(guest, out):
    assert len(set(guest.counts("t +0 -0 " * 40, out))) == 1


def test_five_processes_give_one_number(guest, out):
    assert len({guest.counts("+0 w1000 -0", out) for _ in range(5)}) == 1


def test_work_outside_of_marks_and_other_seeks_do_not_count(guest, out):
    plain = guest.counts("+0 w10 -0", out)
    assert guest.counts("w5000 o17 +0 w10 -0 w5000 o16777216", out) == plain


def test_the_greatest_identity_is_kept_apart_from_the_operation(guest, out):
    assert len(guest.counts(f"+{0xFFFFFF} -{0xFFFFFF}", out)) == 1
    assert out.read_text().split()[0] == str(0xFFFFFF)


def test_the_guest_can_neither_close_nor_misplace_nor_double_the_output(guest, tmp_path):
    out = tmp_path / "a,b"
    closing = " ".join(f"c{descriptor}" for descriptor in range(4, 20))
    assert len(guest.counts(f"d {closing} +0 -0 f +1 -1", out)) == 2


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("+1 +2 -2 -1", "mark 2 starts inside mark 1"),
        ("+1 +1 -1", "mark 1 starts inside mark 1"),
        ("+1 -2", "mark 2 stops but is not the one that runs"),
        ("-3", "mark 3 stops but is not the one that runs"),
        ("+0 -0 +4", "mark 4 never stops"),
        ("+5 t -5", "a second thread started inside mark 5"),
        ("s +6 -6", "mark 6 in a process of 2 threads"),
        ("+7 -7 ?", "mark 0 has the unknown operation 3"),
    ],
)
def test_marks_that_make_no_sense_are_refused_once(guest, out, steps, why):
    with pytest.raises(HostError) as caught:
        guest.counts(steps, out)
    assert (caught.value.code, caught.value.why) == ("E318", why)
    assert out.read_text().count("error ") == 1


def test_a_program_without_marks_has_no_count(guest, out):
    with pytest.raises(HostError) as caught:
        guest.counts("w1000", out)
    assert caught.value.code == "E319"
    assert out.exists()
