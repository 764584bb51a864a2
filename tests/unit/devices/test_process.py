import sys

import pytest

from edgepack.devices.process import LIMITS, JobFolder


@pytest.fixture
def folder():
    folder = JobFolder()
    yield folder
    folder.close()


def test_limits_hold_in_the_process(folder):
    code = (
        "import resource, sys, time; time.sleep(0.3)\n"
        f"sys.stderr.write(repr([resource.getrlimit(k)[0] for k in {list(LIMITS)}]))"
    )
    outcome = folder.run([sys.executable, "-S", "-c", code], {}, 30)
    assert outcome.stderr == repr(list(LIMITS.values()))


def test_what_it_prints_stays_out_of_our_memory_and_of_its_last_words(folder):
    code = "import sys\nfor _ in range(64): print('x' * 65536)\nsys.stderr.write('done')"
    outcome = folder.run([sys.executable, "-S", "-c", code], {}, 30)
    assert (outcome.status, outcome.stderr) == (0, "done")


def test_nobody_else_may_look_in(folder):
    assert folder.path.stat().st_mode & 0o77 == 0
